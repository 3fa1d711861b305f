#include "route.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "../run/process.hpp"

namespace shoal::launch {
namespace {

struct FreeList {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
  void operator()(ifaddrs* list) const { freeifaddrs(list); }
};

std::string text_of(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, sizeof text);
  } else if (address->sa_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text,
              sizeof text);
  }
  return text;
}

std::string interface_with(const std::string& address) {
  ifaddrs* raw = nullptr;
  if (getifaddrs(&raw) != 0) return "";
  const std::unique_ptr<ifaddrs, FreeList> list(raw);
  for (const ifaddrs* at = list.get(); at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr != nullptr && text_of(at->ifa_addr) == address) return at->ifa_name;
  }
  return "";
}

std::string speed_of(const std::string& interface) {
  std::ifstream in("/sys/class/net/" + interface + "/speed");
  long speed = -1;
  return in >> speed && speed > 0 ? std::to_string(speed) + " Mbit/s" : "";
}

}  // namespace

Route route_to(const std::string& host) {
  Route route;
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* raw = nullptr;
  const int code = getaddrinfo(host.c_str(), "9", &hints, &raw);
  if (code != 0) {
    route.problem = host + ": " + gai_strerror(code);
    return route;
  }
  const std::unique_ptr<addrinfo, FreeList> target(raw);
  const Descriptor socket(::socket(target->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  // Connecting a datagram socket only looks up the route.
  if (!socket.is_open() || connect(socket.get(), target->ai_addr, target->ai_addrlen) != 0 ||
      getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &length) != 0) {
    route.problem = host + ": " + std::strerror(errno);
    return route;
  }
  route.address = text_of(reinterpret_cast<const sockaddr*>(&own));
  route.interface = interface_with(route.address);
  route.speed = speed_of(route.interface);
  return route;
}

}  // namespace shoal::launch
