// Where the hosts of a run reach each other by IPv4.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shoal::tcp {

/// An address of this host, and which others are in its network; both in network byte order.
struct Address {
  std::uint32_t address = 0;
  std::uint32_t mask = 0;
};

/// Addresses of this host's interfaces that are up, without loopback: of those interfaces that MPI may
/// use (Open MPI's btl_tcp_if_include and btl_tcp_if_exclude), since what the user has said there holds
/// for these connections, too.
std::vector<Address> own_addresses();

/// Those of another host in the order in which to try them: first those in a network of `own`. An
/// address that this host has, too, leads back here and is left out (bridges of containers have the
/// same everywhere).
std::vector<std::uint32_t> to_try(std::span<const Address> own,
                                  std::span<const std::uint32_t> theirs);

}  // namespace shoal::tcp
