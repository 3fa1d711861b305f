#include "agreement.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <thread>

#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/wait.hpp>

namespace shoal::testing {
namespace {

constexpr int length_tag = 1;
constexpr int text_tag = 2;
constexpr int verdict_tag = 3;

// A rank that failed at once waits here while the others run into SHOAL_TIMEOUT in the collective it
// should have joined; rank 0 must outwait them, and the rest must outwait rank 0.
Seconds limit_of(Rank rank) { return wait_timeout() * 1.25 + Seconds(rank == 0 ? 1 : 2); }

}  // namespace

std::string text_of(const std::vector<std::string>& reports) {
  std::map<std::string, std::string> ranks_by_report;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    if (reports[rank].empty()) continue;
    std::string& ranks = ranks_by_report[reports[rank]];
    ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
  }
  std::string text;
  for (const auto& [report, ranks] : ranks_by_report) {
    const bool many = ranks.find(',') != std::string::npos;
    text += (many ? "ranks " : "rank ") + ranks + ": " + report;
    if (text.back() != '\n') text += '\n';
  }
  return text;
}

Agreement::Agreement(const Communicator& world)
    : comm_(world.duplicate("test agreement")), handle_(mpi_handle(comm_)) {}

template <class Complain>
void Agreement::wait(std::vector<MPI_Request>& requests, Seconds limit, Complain&& complain) {
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0;; ++round) {
    std::vector<int> late;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      int done = 0;
      check_mpi(MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE), "test agreement");
      if (!done) late.push_back(static_cast<int>(i));
    }
    if (late.empty()) return;
    if (std::chrono::steady_clock::now() - start > limit) {
      complain(late);
      std::fflush(nullptr);
      Runtime::abort(1);
    }
    if (round > 100) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

Verdict Agreement::meet(const std::string& report, const std::string& place) {
  return comm_.rank() == 0 ? collect(report, place) : deliver(report, place);
}

Verdict Agreement::collect(const std::string& report, const std::string& place) {
  const auto ranks = static_cast<std::size_t>(comm_.size());
  std::vector<std::string> reports(ranks);
  reports[0] = report;

  std::vector<std::int64_t> lengths(ranks, 0);
  std::vector<MPI_Request> requests(ranks - 1, MPI_REQUEST_NULL);
  for (std::size_t r = 1; r < ranks; ++r) {
    check_mpi(MPI_Irecv(&lengths[r], 1, MPI_INT64_T, static_cast<int>(r), length_tag, handle_,
                        &requests[r - 1]),
              "test agreement");
  }
  const auto complain = [&](const std::vector<int>& late) {
    std::string missing;
    for (const int i : late) missing += (missing.empty() ? "" : ", ") + std::to_string(i + 1);
    std::printf("%s%s: rank %s did not come to the end of the test in %.0f s; ending the run\n",
                text_of(reports).c_str(), place.c_str(), missing.c_str(), limit_of(0).count());
  };
  wait(requests, limit_of(0), complain);

  requests.assign(ranks - 1, MPI_REQUEST_NULL);
  Verdict verdict;
  for (std::size_t r = 0; r < ranks; ++r) {
    if (r > 0 && lengths[r] > 0) {
      reports[r].resize(static_cast<std::size_t>(lengths[r]));
      check_mpi(MPI_Irecv(reports[r].data(), static_cast<int>(lengths[r]), MPI_CHAR,
                          static_cast<int>(r), text_tag, handle_, &requests[r - 1]),
                "test agreement");
    }
    verdict.failed_ranks += reports[r].empty() ? 0 : 1;
  }
  wait(requests, limit_of(0), complain);
  verdict.alike = std::all_of(reports.begin(), reports.end(),
                              [&](const std::string& other) { return other == reports[0]; });

  const int words[] = {verdict.failed_ranks, verdict.alike ? 1 : 0};
  requests.assign(ranks - 1, MPI_REQUEST_NULL);
  for (std::size_t r = 1; r < ranks; ++r) {
    check_mpi(MPI_Isend(words, 2, MPI_INT, static_cast<int>(r), verdict_tag, handle_,
                        &requests[r - 1]),
              "test agreement");
  }
  wait(requests, limit_of(0), complain);
  verdict.reports = std::move(reports);
  return verdict;
}

Verdict Agreement::deliver(const std::string& report, const std::string& place) {
  const auto length = static_cast<std::int64_t>(report.size());
  Verdict verdict;
  std::vector<MPI_Request> requests(3, MPI_REQUEST_NULL);
  check_mpi(MPI_Isend(&length, 1, MPI_INT64_T, 0, length_tag, handle_, &requests[0]),
            "test agreement");
  if (length > 0) {
    check_mpi(MPI_Isend(report.data(), static_cast<int>(length), MPI_CHAR, 0, text_tag, handle_,
                        &requests[1]),
              "test agreement");
  }
  int words[] = {0, 0};
  check_mpi(MPI_Irecv(words, 2, MPI_INT, 0, verdict_tag, handle_, &requests[2]),
            "test agreement");
  wait(requests, limit_of(comm_.rank()), [&](const std::vector<int>&) {
    if (!report.empty()) std::printf("rank %d: %s", comm_.rank(), report.c_str());
    std::printf("%s: rank %d waited %.0f s for rank 0 at the end of the test; ending the run\n",
                place.c_str(), comm_.rank(), limit_of(comm_.rank()).count());
  });
  verdict.failed_ranks = words[0];
  verdict.alike = words[1] != 0;
  return verdict;
}

}  // namespace shoal::testing
