// How much the kernel should keep of what is to be sent to a peer that is near.
#pragma once

namespace shoal::tcp {

/// Bytes to ask for as the send buffer of a connection whose least round trip took so many microseconds:
/// as much as systems allow without a privilege (192 KiB), where that covers what 40 Gbit/s, about what one
/// stream reaches, have under way in that time. 0: let it grow, since the peer is further away, or the time
/// is not known yet (0).
int send_buffer_bytes(unsigned least_round_trip) noexcept;

/// Bounds the send buffer of a connection whose peer is near by what can be under way to it: more
/// would only wait there, and push out of the caches what it was copied to. Left to itself the kernel lets it
/// grow to megabytes. With less than that a sender that shares its core comes too late to keep the link
/// busy. Four hosts of two ranks that share two cores (EPYC, Zen 5) reduce 16 MiB over 10 Gbit/s in 52 ms with
/// 32 KiB, 29.2 with 64, 27.4 with 128, 24.9 with 192, 25.6 with 512 and 37 with 2 MiB; of one rank each in
/// 36.7, 21.2, 22.6, 21.7, 23.6 and 25.6 ms (single runs, of this setting alone).
/// False if the peer is not near, or that is not known yet: then ask again later.
bool bound_send_buffer(int socket) noexcept;

}  // namespace shoal::tcp
