#include "facts.hpp"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <shoal_version.h>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/topology.hpp>

#include "../run/local_host.hpp"

namespace shoal::launch {
namespace {

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// "always within_size [advise] never": the word in brackets.
std::string chosen_word(const std::string& line) {
  const auto open = line.find('[');
  const auto close = line.find(']', open);
  if (open == std::string::npos || close == std::string::npos) return line;
  return line.substr(open + 1, close - open - 1);
}

std::int64_t shared_memory_bytes() {
  struct statvfs file_system {};
  if (statvfs("/dev/shm", &file_system) != 0) return 0;
  return static_cast<std::int64_t>(file_system.f_blocks) *
         static_cast<std::int64_t>(file_system.f_frsize);
}

std::int64_t locked_memory_bytes() {
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 0;
  return limit.rlim_cur == RLIM_INFINITY ? -1 : static_cast<std::int64_t>(limit.rlim_cur);
}

std::int64_t available_memory_bytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("MemAvailable:", 0) == 0) return std::stoll(line.substr(13)) * 1024;
  }
  return 0;
}

bool has_infiniband() {
  std::error_code error;
  const std::filesystem::directory_iterator devices("/sys/class/infiniband", error);
  return !error && devices != std::filesystem::directory_iterator();
}

}  // namespace

nlohmann::ordered_json local_facts() {
  const Machine machine = local_machine();
  nlohmann::ordered_json facts;
  facts["host"] = machine.host;
  facts["shoal"] = std::string(SHOAL_VERSION) + "+" + SHOAL_GIT_REVISION;
  facts["mpi"] = Runtime::mpi_version();
  facts["shm_bytes"] = shared_memory_bytes();
  facts["memlock_bytes"] = locked_memory_bytes();
  facts["infiniband"] = has_infiniband();
  facts["governor"] = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  facts["huge_pages"] =
      chosen_word(first_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
  facts["processor"] = machine.processor;
  facts["cores"] = machine.cores;
  facts["threads"] = machine.threads;
  facts["usable_threads"] = machine.usable_threads;
  facts["usable_cores"] = usable_cores();
  facts["cpu_quota"] = machine.cpu_quota;
  facts["isa"] = processor_features();
  facts["memory_bytes"] = machine.memory;
  facts["free_bytes"] = available_memory_bytes();
  return facts;
}

}  // namespace shoal::launch
