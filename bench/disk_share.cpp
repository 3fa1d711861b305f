#include "disk_share.hpp"

#include <fcntl.h>
#include <omp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/topology.hpp>

#include "timing.hpp"

namespace shoal::bench {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double calibration_s = 0.3;
constexpr Bytes disk_page = 4096;
constexpr Bytes disk_piece = Bytes{64} << 20;

// Over what is in the file, if it is there. 0 or errno.
int write_file(const fs::path& path, const char* data, Bytes bytes) {
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC;
  int file = ::open(path.c_str(), flags | O_DIRECT, 0600);
  if (file < 0) file = ::open(path.c_str(), flags, 0600);
  if (file < 0) return errno;
  int problem = 0;
  for (Bytes at = 0; at < bytes && problem == 0;) {
    const ssize_t taken = ::write(file, data + at, std::min(disk_piece, bytes - at));
    if (taken < 0 && errno != EINTR) problem = errno;
    if (taken > 0) at += static_cast<Bytes>(taken);
  }
  if (problem == 0 && ::fsync(file) != 0) problem = errno;
  ::close(file);
  return problem;
}

// Multiplications that depend on each other, on all threads, until `until` says so; how many.
std::uint64_t compute(const std::function<bool()>& until) {
  std::uint64_t done = 0;
  std::atomic<bool> stop{false};
#pragma omp parallel num_threads(default_compute_threads()) reduction(+ : done)
  {
    double value = 1;
    while (!stop.load(std::memory_order_relaxed)) {
      for (int i = 0; i < 20000; ++i) value = value * 1.0000001 + 1e-9;
      ++done;
      if (omp_get_thread_num() == 0 && until()) stop.store(true, std::memory_order_relaxed);
    }
    if (value == 0) ++done;  // never: so that the compiler cannot leave the loop out
  }
  return done;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

double seconds_lost_to_disk(const Communicator& world, const fs::path& folder, Bytes bytes,
                            int rounds) {
  const Bytes whole = (bytes + disk_page - 1) / disk_page * disk_page;
  const Buffer<char> data(static_cast<Index>(whole + disk_page));
  std::fill(data.begin(), data.end(), 'x');  // so that its pages are there
  const auto address = reinterpret_cast<std::uintptr_t>(data.data());
  const char* aligned = data.data() + (disk_page - address % disk_page) % disk_page;
  const fs::path path = folder / fmt::format("disk-{}", world.rank());

  std::vector<double> lost;
  std::int64_t problem = write_file(path, aligned, whole);
  all_reduce(world, std::span<std::int64_t>(&problem, 1), ReduceOp::max);
  for (int round = 0; round < rounds && problem == 0; ++round) {
    barrier(world);
    const auto calibration = Clock::now();
    const std::uint64_t alone =
        compute([&] { return seconds_since(calibration) >= calibration_s; });
    const double each = seconds_since(calibration) / static_cast<double>(alone);
    barrier(world);
    std::atomic<bool> written{false};
    const auto begin = Clock::now();
    std::thread writer([&] {
      setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);  // as that of checkpoints
      problem = write_file(path, aligned, whole);
      written.store(true, std::memory_order_release);
    });
    const std::uint64_t beside = compute([&] { return written.load(std::memory_order_acquire); });
    const double loss = seconds_since(begin) - each * static_cast<double>(beside);
    writer.join();
    double sum = loss;
    all_reduce(world, std::span<double>(&sum, 1), ReduceOp::sum);
    all_reduce(world, std::span<std::int64_t>(&problem, 1), ReduceOp::max);
    lost.push_back(sum / world.size());
  }
  ::unlink(path.c_str());
  if (problem != 0) {
    throw Error("bench checkpoint",
                folder.string() + ": " + std::strerror(static_cast<int>(problem)),
                "use another folder");
  }
  return median(lost);
}

}  // namespace shoal::bench
