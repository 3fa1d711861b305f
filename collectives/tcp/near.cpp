#include "tcp/near.hpp"

// The C library's own structure has no least round-trip time. Its header and this one do not go
// together: hence a file of its own.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>

namespace shoal::tcp {
namespace {

// 40 Gbit/s, about what one stream reaches. The kernel doubles what it is given.
constexpr int bytes_a_microsecond = 5000;
constexpr int buffer_bytes = 192 << 10;  // systems allow 208 KiB without a privilege
constexpr unsigned near_microseconds = buffer_bytes / bytes_a_microsecond;  // 39

}  // namespace

int send_buffer_bytes(unsigned least_round_trip) noexcept {
  if (least_round_trip == 0 || least_round_trip > near_microseconds) return 0;
  return buffer_bytes;
}

bool bound_send_buffer(int socket) noexcept {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  if (size < offsetof(tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt) return false;
  const int bytes = send_buffer_bytes(info.tcpi_min_rtt);
  return bytes > 0 && setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) == 0;
}

}  // namespace shoal::tcp
