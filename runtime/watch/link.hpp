// TCP between the watches of two ranks: short messages, never a wait.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal::watch {

/// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept;

 private:
  int fd_ = -1;
};

enum class Kind : std::uint8_t {
  hello,    ///< first word of a child: rank, and the run's secret as text
  welcome,  ///< the parent's answer
  beat,     ///< `rank` lives; what it does
  fault,    ///< something ends the run; up to the root
  collect,  ///< send your record; down from the root
  record,   ///< the last calls of `rank`
  end,      ///< end your process; down from the root
  signal,   ///< `rank` was told to stop by SIGTERM
  quiet,    ///< the run is being ended by `rank`, which has said why
  bye,      ///< this rank is done; its connection closes
};

struct Message {
  Kind kind = Kind::beat;
  Rank rank = -1;
  std::string text;
};

/// One connection.
class Link {
 public:
  Link() = default;
  explicit Link(Descriptor fd) noexcept : fd_(std::move(fd)) {}

  int fd() const noexcept { return fd_.get(); }
  bool wants_to_write() const noexcept { return !out_.empty(); }
  /// False once the peer's end is closed or broken.
  bool open() const noexcept { return static_cast<bool>(fd_); }
  void close() noexcept { fd_ = Descriptor(); }

  /// Queues a message and sends what the socket takes.
  void send(const Message& message);
  void flush();
  /// What has come.
  std::vector<Message> receive();

 private:
  Descriptor fd_;
  std::string in_;
  std::string out_;
};

/// A listening socket on all interfaces; its port.
struct Listener {
  Descriptor fd;
  std::uint16_t port = 0;
};

/// Throws Error.
Listener listen_anywhere();
/// A connection that waits to be accepted; empty if there is none.
Descriptor accept_from(const Listener& listener);

/// Numeric addresses of this host's interfaces, separated by spaces: loopback last, at most `most`
/// characters.
std::string own_addresses(Bytes most);

/// Tries one address after the other until a peer there answers `hello` with a welcome. Gives up at
/// once when `stop()` says so. A closed link if none did.
Link connect_to(const std::string& addresses, std::uint16_t port, const Message& hello,
                bool same_host, const std::function<bool()>& stop);

}  // namespace shoal::watch
