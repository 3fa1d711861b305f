#include "local_host.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <utility>

#include <shoal/runtime/topology.hpp>

#include "processor_mask.hpp"

namespace shoal::launch {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
  void operator()(ifaddrs* list) const { freeifaddrs(list); }
};

bool same_address(const sockaddr* a, const sockaddr* b) {
  if (a->sa_family != b->sa_family) return false;
  if (a->sa_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in*>(a)->sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in*>(b)->sin_addr.s_addr;
  }
  return a->sa_family == AF_INET6 &&
         std::memcmp(&reinterpret_cast<const sockaddr_in6*>(a)->sin6_addr,
                     &reinterpret_cast<const sockaddr_in6*>(b)->sin6_addr, sizeof(in6_addr)) == 0;
}

// Only numbers: a name would go to a resolver that may take its time, and names that mean this
// machine are compared as names.
bool is_own_address(const std::string& name) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &raw) != 0) return false;
  const std::unique_ptr<addrinfo, FreeAddresses> address(raw);
  ifaddrs* raw_interfaces = nullptr;
  if (getifaddrs(&raw_interfaces) != 0) return false;
  const std::unique_ptr<ifaddrs, FreeAddresses> interfaces(raw_interfaces);
  for (const ifaddrs* at = interfaces.get(); at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr != nullptr && same_address(at->ifa_addr, address->ai_addr)) return true;
  }
  return false;
}

int read_number(const std::string& file) {
  std::ifstream in(file);
  int value = -1;
  in >> value;
  return in ? value : -1;
}

}  // namespace

std::string local_host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  const std::string text = name;
  return text.substr(0, text.find('.'));
}

bool is_local_host(const std::string& name) {
  if (name == "localhost" || name == local_host_name()) return true;
  char full[256] = "";
  gethostname(full, sizeof full - 1);
  return name == full || is_own_address(name);
}

AllowedCores allowed_cores() {
  AllowedCores allowed;
  ProcessorMask mask;
  if (!mask.read()) return allowed;
  std::map<std::pair<int, int>, std::vector<int>> cores;
  for (int cpu = 0; cpu < ProcessorMask::most; ++cpu) {
    if (!mask.has(cpu)) continue;
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const int core = read_number(folder + "core_id");
    // Without sysfs, each processor counts as a core.
    cores[core < 0 ? std::pair(-1, cpu)
                   : std::pair(read_number(folder + "physical_package_id"), core)]
        .push_back(cpu);
  }
  for (auto& [where, processors] : cores) allowed.cores.push_back(std::move(processors));
  allowed.whole = mask.count() >= sysconf(_SC_NPROCESSORS_ONLN);
  return allowed;
}

int usable_cores() {
  int cores = std::max<int>(1, static_cast<int>(allowed_cores().cores.size()));
  const double quota = local_machine().cpu_quota;
  if (quota > 0) cores = std::min(cores, std::max(1, static_cast<int>(quota)));
  return cores;
}

}  // namespace shoal::launch
