// The way to another host.
#pragma once

#include <string>

namespace shoal::launch {

/// The interface and own address that packets to a host would take.
struct Route {
  std::string interface, address;
  std::string speed;    ///< "1000 Mbit/s", as the driver tells; empty: it does not
  std::string problem;  ///< why there is none; empty: there is one
};

/// Asks the kernel; sends nothing.
Route route_to(const std::string& host);

}  // namespace shoal::launch
