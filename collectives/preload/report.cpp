#include "preload/report.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "preload/preload.hpp"

namespace shoal::preload {
namespace {

struct Count {
  std::atomic<std::uint64_t> calls{0};
  std::atomic<std::int64_t> nanoseconds{0};
};

struct Counts {
  Count taken;
  Count handed;
};

constexpr std::array<const char*, function_count> names = {
    "MPI_Allreduce", "MPI_Reduce_scatter", "MPI_Reduce_scatter_block",
    "MPI_Allgather", "MPI_Bcast",          "MPI_Alltoall",
    "MPI_Barrier",   "MPI_Iallreduce"};

bool wanted = false;
std::array<Counts, function_count> counts;

double seconds(const Count& count) { return static_cast<double>(count.nanoseconds) * 1e-9; }

}  // namespace

Tally::Tally(Function function) noexcept
    : function_(function), counted_(wanted && active() && !Inside::now()) {
  if (counted_) start_ = std::chrono::steady_clock::now();
}

Tally::~Tally() {
  if (!counted_) return;
  const auto time = std::chrono::steady_clock::now() - start_;
  Counts& mine = counts[static_cast<std::size_t>(function_)];
  Count& count = taken_ ? mine.taken : mine.handed;
  count.calls.fetch_add(1, std::memory_order_relaxed);
  count.nanoseconds.fetch_add(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count(),
                              std::memory_order_relaxed);
}

void start_report() {
  const char* text = std::getenv("SHOAL_PRELOAD_REPORT");
  wanted = text != nullptr && (std::string_view(text) == "1" || std::string_view(text) == "on");
}

void print_report() {
  if (!wanted) return;
  std::fprintf(stderr, "shoal: calls of rank 0\n%-26s %12s %12s %12s %12s\n", "", "by Shoal",
               "seconds", "by MPI", "seconds");
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Counts& row = counts[i];
    if (row.taken.calls == 0 && row.handed.calls == 0) continue;
    std::fprintf(stderr, "%-26s %12llu %12.6f %12llu %12.6f\n", names[i],
                 static_cast<unsigned long long>(row.taken.calls), seconds(row.taken),
                 static_cast<unsigned long long>(row.handed.calls), seconds(row.handed));
  }
}

}  // namespace shoal::preload
