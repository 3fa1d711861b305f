// How much the kernel should keep of what is to be sent to a peer that is near.
#pragma once

namespace shoal::tcp {

/// Bytes to ask for as the send buffer of a connection whose least round trip took so many microseconds:
/// what 40 Gbit/s, about what one stream reaches, have under way in that time, but at least a segment of a
/// plan (64 KiB) and no more than systems allow without a privilege (192 KiB). 0: let it grow, since the
/// peer is further away than that covers, or the time is not known yet (0).
int send_buffer_bytes(unsigned least_round_trip) noexcept;

/// Bounds the send buffer of a connection whose peer is near by what can be under way to it: more
/// would only wait there, and push out of the caches what it was copied to. Left to itself the kernel lets it
/// grow to megabytes. Four hosts that share two cores reduce 16 MiB over 10 Gbit/s in 21 ms with 64 KiB, in
/// 22.4 ms with 128 or 192 KiB, and in 26 to 31 ms without a bound; 64 MiB in 96, 101 and 130 ms.
/// False if the peer is not near, or that is not known yet: then ask again later.
bool bound_send_buffer(int socket) noexcept;

}  // namespace shoal::tcp
