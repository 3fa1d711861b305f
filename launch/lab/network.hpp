// The wires of a lab: a bridge in a namespace of its own, and from each host a pair of virtual
// Ethernet devices to it, shaped at both ends (iproute2's ip and tc).
#pragma once

#include "state.hpp"

namespace shoal::launch::lab {

/// The device of every host.
inline constexpr const char* host_interface = "lab0";

/// Bytes that a link of this many bits a second lets pass at once: two milliseconds' worth, so that
/// the kernel's timer keeps up, and never less than a few packets.
Bytes link_burst(std::uint64_t rate);

/// Throws Error naming what this machine lacks: ip, tc, or the kernel's parts for these hosts.
void require_network(const std::vector<HostSpec>& hosts);

/// Makes the switch in the namespace of its holder.
void make_switch(const Lab& lab);
/// Connects host number `index` to it and sets the speed of its link.
void connect(const Lab& lab, int index);

/// Pulls the plug of a host, or puts it back: then returns once it reaches all that are plugged in.
void set_link(const Lab& lab, int index, bool up);
/// For each host, whether it is plugged in.
std::vector<bool> links_up(const Lab& lab);

}  // namespace shoal::launch::lab
