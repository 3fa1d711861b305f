#include "tcp/addresses.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>

namespace shoal::tcp {
namespace {

struct FreeAddresses {
  void operator()(ifaddrs* list) const noexcept { freeifaddrs(list); }
};

std::uint32_t of(const sockaddr* address) {
  return reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr;
}

// An entry of Open MPI's lists: the name of an interface, or a network like 10.1.0.0/16.
bool names(const std::string& entry, const std::string& interface, std::uint32_t address) {
  const std::size_t slash = entry.find('/');
  if (slash == std::string::npos) return entry == interface;
  in_addr network{};
  const int bits = std::atoi(entry.c_str() + slash + 1);
  if (inet_aton(entry.substr(0, slash).c_str(), &network) == 0 || bits < 0 || bits > 32) return false;
  const std::uint32_t mask = bits == 0 ? 0 : htonl(~std::uint32_t{0} << (32 - bits));
  return (network.s_addr & mask) == (address & mask);
}

bool is_in(const char* list, const std::string& interface, std::uint32_t address) {
  std::istringstream entries(list);
  for (std::string entry; std::getline(entries, entry, ',');) {
    if (names(entry, interface, address)) return true;
  }
  return false;
}

bool mpi_may_use(const std::string& interface, std::uint32_t address) {
  const char* include = std::getenv("OMPI_MCA_btl_tcp_if_include");
  if (include != nullptr && *include != '\0') return is_in(include, interface, address);
  const char* exclude = std::getenv("OMPI_MCA_btl_tcp_if_exclude");
  return exclude == nullptr || !is_in(exclude, interface, address);
}

}  // namespace

std::vector<Address> own_addresses() {
  std::vector<Address> all;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return all;
  const std::unique_ptr<ifaddrs, FreeAddresses> owner(list);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET ||
        entry->ifa_netmask == nullptr || (entry->ifa_flags & IFF_UP) == 0 ||
        (entry->ifa_flags & IFF_LOOPBACK) != 0) {
      continue;
    }
    const Address mine{of(entry->ifa_addr), of(entry->ifa_netmask)};
    if (mpi_may_use(entry->ifa_name, mine.address)) all.push_back(mine);
  }
  return all;
}

std::vector<std::uint32_t> to_try(std::span<const Address> own,
                                  std::span<const std::uint32_t> theirs) {
  const auto near = [&](std::uint32_t address) {
    return std::any_of(own.begin(), own.end(), [&](const Address& mine) {
      return (mine.address & mine.mask) == (address & mine.mask);
    });
  };
  std::vector<std::uint32_t> order;
  for (const std::uint32_t address : theirs) {
    const auto is_it = [&](const Address& mine) { return mine.address == address; };
    if (std::none_of(own.begin(), own.end(), is_it)) order.push_back(address);
  }
  std::stable_partition(order.begin(), order.end(), near);
  return order;
}

}  // namespace shoal::tcp
