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

constexpr double calibration_s = 0.5;
// From one meeting of the ranks to the next, as in a tensor-parallel step of 124M on a core a rank.
constexpr double between_meetings = 0.01;  // seconds
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

// On all threads, multiplications that depend on each other, so many times 20,000.
void compute(std::int64_t times) {
#pragma omp parallel num_threads(default_compute_threads())
  {
    double value = 1;
    for (std::int64_t turn = 0; turn < times * 20000; ++turn) value = value * 1.0000001 + 1e-9;
    volatile double kept = value;  // so that the compiler cannot leave the loop out
    static_cast<void>(kept);
  }
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Work for about `between_meetings` on every rank.
std::int64_t times_between_meetings(const Communicator& world) {
  std::int64_t times = 1;
  for (;; times *= 2) {
    const auto begin = Clock::now();
    compute(times);
    double seconds = seconds_since(begin);
    all_reduce(world, std::span<double>(&seconds, 1), ReduceOp::max);
    if (seconds >= between_meetings) return times;
  }
}

// Computes and meets the others until, at a meeting, all are for ending; how often.
std::int64_t compute_in_step(const Communicator& world, std::int64_t times,
                             const std::function<bool()>& ends_here) {
  for (std::int64_t meetings = 1;; ++meetings) {
    compute(times);
    std::int64_t wait = ends_here() ? 0 : 1;
    all_reduce(world, std::span<std::int64_t>(&wait, 1), ReduceOp::max);
    if (wait == 0) return meetings;
  }
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
  const std::int64_t times = times_between_meetings(world);
  for (int round = 0; round < rounds && problem == 0; ++round) {
    barrier(world);
    const auto calibration = Clock::now();
    const std::int64_t alone = compute_in_step(
        world, times, [&] { return seconds_since(calibration) >= calibration_s; });
    const double each = seconds_since(calibration) / static_cast<double>(alone);
    barrier(world);
    std::atomic<bool> written{false};
    const auto begin = Clock::now();
    std::thread writer([&] {
      setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);  // as that of checkpoints
      problem = write_file(path, aligned, whole);
      written.store(true, std::memory_order_release);
    });
    const std::int64_t beside = compute_in_step(
        world, times, [&] { return written.load(std::memory_order_acquire); });
    lost.push_back(seconds_since(begin) - each * static_cast<double>(beside));
    writer.join();
    all_reduce(world, std::span<std::int64_t>(&problem, 1), ReduceOp::max);
  }
  ::unlink(path.c_str());
  if (problem != 0) {
    throw Error("bench checkpoint",
                folder.string() + ": " + std::strerror(static_cast<int>(problem)),
                "use another folder");
  }
  double seconds = median(lost);
  all_reduce(world, std::span<double>(&seconds, 1), ReduceOp::max);
  return seconds;
}

}  // namespace shoal::bench
