#include "spent.hpp"

#include <sys/resource.h>

#include <fstream>
#include <sstream>
#include <string>

#include <shoal/collectives/all_reduce.hpp>

namespace shoal::bench {
namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// "  eth0: bytes packets ... (eight of receiving) bytes packets ... (eight of sending)"; two lines of titles.
double bytes_sent_by_devices() {
  std::ifstream devices("/proc/self/net/dev");
  double sum = 0;
  for (std::string line; std::getline(devices, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    if (line.compare(line.find_first_not_of(' '), 3, "lo:") == 0) continue;
    std::istringstream numbers(line.substr(colon + 1));
    double value = 0;
    for (int i = 0; i < 9 && numbers >> value; ++i) {
      if (i == 8) sum += value;
    }
  }
  return sum;
}

}  // namespace

Spent Spent::now() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime), bytes_sent_by_devices()};
}

Spent of_all(const Communicator& world, const Spent& mine) {
  Spent all = mine;
  all_reduce(world, &all.processor_seconds, &all.processor_seconds, 1, DType::f64, ReduceOp::sum);
  all_reduce(world, &all.sent_bytes, &all.sent_bytes, 1, DType::f64, ReduceOp::max);
  return all;
}

}  // namespace shoal::bench
