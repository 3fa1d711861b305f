#include "watch/link.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <sstream>
#include <utility>

#include <shoal/runtime/error.hpp>

namespace shoal::watch {
namespace {

struct Header {
  std::uint32_t bytes;
  std::int32_t rank;
  std::uint8_t kind;
};
constexpr std::size_t header_bytes = sizeof(std::uint32_t) + sizeof(std::int32_t) + 1;
// The largest message is a record of 64 calls; what claims to be longer is no message of ours.
constexpr std::uint32_t most_bytes = 1 << 20;
// A peer that reads nothing for so long is silent, and found out by that.
constexpr std::size_t most_queued = 64 << 20;

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds patience{3000};  // for one address

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { freeaddrinfo(list); }
  void operator()(ifaddrs* list) const noexcept { freeifaddrs(list); }
};

// Waits until the socket is ready or time is up, and looks at `stop` in between.
bool ready(int fd, short events, Clock::time_point until, const std::function<bool()>& stop) {
  while (!stop() && Clock::now() < until) {
    pollfd entry{fd, events, 0};
    if (::poll(&entry, 1, 50) > 0) return true;
  }
  return false;
}

Link connect_once(const std::string& address, std::uint16_t port, const Message& hello,
                  const std::function<bool()>& stop) {
  addrinfo wish{};
  wish.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  wish.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &wish, &found) != 0) return {};
  const std::unique_ptr<addrinfo, FreeAddresses> owner(found);
  Descriptor fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return {};
  const auto until = Clock::now() + patience;
  if (::connect(fd.get(), found->ai_addr, found->ai_addrlen) != 0) {
    int problem = 0;
    socklen_t size = sizeof problem;
    if (errno != EINPROGRESS || !ready(fd.get(), POLLOUT, until, stop) ||
        getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &problem, &size) != 0 || problem != 0) {
      return {};
    }
  }
  const int yes = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  // Another host of the same address, or another program on that port, does not know the secret's
  // answer: it is the next address's turn then.
  Link link(std::move(fd));
  link.send(hello);
  while (link.open() && ready(link.fd(), POLLIN, until, stop)) {
    for (const Message& answer : link.receive()) {
      if (answer.kind != Kind::welcome || answer.text != hello.text) return {};
      return link;
    }
  }
  return {};
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

int Descriptor::release() noexcept { return std::exchange(fd_, -1); }

void Link::send(const Message& message) {
  if (!open()) return;
  const Header header{static_cast<std::uint32_t>(message.text.size()), message.rank,
                      static_cast<std::uint8_t>(message.kind)};
  out_.append(reinterpret_cast<const char*>(&header), header_bytes);
  out_ += message.text;
  flush();
  if (out_.size() > most_queued) close();
}

void Link::flush() {
  while (open() && !out_.empty()) {
    const ssize_t sent = ::send(fd(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      out_.erase(0, static_cast<std::size_t>(sent));
    } else if (errno != EINTR) {
      // A broken connection shows when it is read: there may be last words to read before.
      if (errno != EAGAIN && errno != EWOULDBLOCK) out_.clear();
      return;
    }
  }
}

std::vector<Message> Link::receive() {
  bool closed = false;
  std::array<char, 16384> piece{};
  for (;;) {
    const ssize_t got = ::recv(fd(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (got > 0) {
      in_.append(piece.data(), static_cast<std::size_t>(got));
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else {
      closed = got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
      break;
    }
  }
  std::vector<Message> messages;
  std::size_t at = 0;
  while (in_.size() - at >= header_bytes) {
    Header header{};
    std::memcpy(&header, in_.data() + at, header_bytes);
    if (header.bytes > most_bytes || header.kind > static_cast<std::uint8_t>(Kind::bye)) {
      closed = true;
      break;
    }
    if (in_.size() - at - header_bytes < header.bytes) break;
    messages.push_back(
        {static_cast<Kind>(header.kind), header.rank, in_.substr(at + header_bytes, header.bytes)});
    at += header_bytes + header.bytes;
  }
  in_.erase(0, at);
  if (closed) close();
  return messages;
}

Listener listen_anywhere() {
  const auto failed = [] {
    return Error("health watch", std::string("no socket to listen on: ") + std::strerror(errno),
                 "allow it, or set SHOAL_WATCH=off");
  };
  // IPv6 takes IPv4 as well; where the system has none, IPv4 alone.
  Listener made;
  made.fd = Descriptor(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (made.fd) {
    const int no = 0;
    setsockopt(made.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_addr = in6addr_any;
    if (::bind(made.fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0) made.fd = {};
  }
  if (!made.fd) {
    made.fd = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_ANY);
    if (!made.fd || ::bind(made.fd.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0) {
      throw failed();
    }
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::listen(made.fd.get(), 1024) != 0 ||
      getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    throw failed();
  }
  made.port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                                : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  return made;
}

Descriptor accept_from(const Listener& listener) {
  Descriptor fd(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  const int yes = 1;
  if (fd) setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

std::string own_addresses(Bytes most) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return "127.0.0.1";
  const std::unique_ptr<ifaddrs, FreeAddresses> owner(list);
  std::vector<std::string> outside;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0 ||
        (entry->ifa_flags & IFF_LOOPBACK) != 0) {
      continue;
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (entry->ifa_addr->sa_family == AF_INET) {
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr,
                text.data(), text.size());
      outside.insert(outside.begin(), text.data());
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr;
      if (IN6_IS_ADDR_LINKLOCAL(&address)) continue;  // means nothing on another host
      inet_ntop(AF_INET6, &address, text.data(), text.size());
      outside.emplace_back(text.data());
    }
  }
  const std::string loopback = "127.0.0.1";
  std::string all;
  for (const std::string& address : outside) {
    if (all.size() + address.size() + loopback.size() + 2 > most) break;
    all += address + ' ';
  }
  return all + loopback;
}

Link connect_to(const std::string& addresses, std::uint16_t port, const Message& hello,
                bool same_host, const std::function<bool()>& stop) {
  std::istringstream words(addresses);
  std::vector<std::string> candidates;
  for (std::string word; words >> word;) candidates.push_back(word);
  // Loopback stands last: right for a neighbour, and on another host it would be ourselves.
  if (same_host)
    std::rotate(candidates.begin(), candidates.end() - 1, candidates.end());
  else
    candidates.pop_back();
  for (const std::string& candidate : candidates) {
    Link link = connect_once(candidate, port, hello, stop);
    if (link.open() || stop()) return link;
  }
  return {};
}

}  // namespace shoal::watch
