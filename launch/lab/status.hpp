// What a lab is like at this moment.
#pragma once

#include <string>
#include <vector>

#include "state.hpp"

namespace shoal::launch::lab {

/// One host as it is now.
struct HostStatus {
  std::string state;          ///< "up", "cut" (its plug is pulled), "gone" (nothing holds it)
  std::size_t processes = 0;  ///< that run on it, the one that holds it apart
};

/// Of every host, in order.
std::vector<HostStatus> status_of(const Lab& lab);
/// A table of 80 columns.
void print_status(const Lab& lab, const std::vector<HostStatus>& hosts);
/// The same and the exact numbers, as one JSON object.
void print_status_json(const Lab& lab, const std::vector<HostStatus>& hosts);

}  // namespace shoal::launch::lab
