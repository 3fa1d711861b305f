// Messages over one TCP connection, in order, without a wait.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <shoal/runtime/units.hpp>

namespace shoal::tcp {

/// One end of a connection. Messages are queued, and progress() moves what the socket takes and gives:
/// straight from and into the caller's memory, several messages with one call of the kernel. A header
/// tells the length of each, so that ranks that disagree about it find out.
class Stream {
 public:
  /// Messages that may be queued at a time, each way.
  static constexpr std::size_t most = 8;

  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() { close(); }

  /// Takes a connected socket, or one that is being connected. Until then messages wait.
  void open(int socket) noexcept { socket_ = socket; }
  void close() noexcept;
  int socket() const noexcept { return socket_; }

  /// At most `most` that are not done. The memory belongs to the stream until then.
  void send(const void* data, Bytes bytes) noexcept;
  void receive(void* data, Bytes bytes) noexcept;

  /// For who is about to send much: bound_send_buffer().
  void expect_much() noexcept;

  /// True if bytes were moved. After it has moved all that there was, a call does nothing until poll()
  /// has said that there is more.
  bool progress();
  /// What to ask poll() for; 0: nothing.
  short awaited() const noexcept;
  void ready(short events) noexcept;
  /// How many have been done since the last time they were asked for.
  std::size_t take_sent() noexcept;
  std::size_t take_received() noexcept;

  bool sends() const noexcept { return out_.size > 0; }
  bool receives() const noexcept { return in_.size > 0; }
  /// The peer has closed its end, or cannot be reached: nothing will come any more.
  bool gone() const noexcept { return gone_; }
  /// A message came that was not as long as the one expected.
  bool length_differs() const noexcept { return length_differs_; }

 private:
  struct Header {
    std::uint64_t bytes = 0;
  };
  struct Message {
    Header header;
    std::byte* data = nullptr;
    Bytes bytes = 0;
  };
  // The oldest first; `begun` bytes of that one, header included, are done.
  struct Queue {
    std::array<Message, most> messages;
    std::size_t first = 0, size = 0;
    Bytes begun = 0;
    std::size_t done = 0;
    Message& at(std::size_t i) noexcept { return messages[(first + i) % most]; }
    void push(std::byte* data, Bytes bytes, std::uint64_t header) noexcept;
  };
  template <class Call>
  bool move(Queue& queue, bool& may, bool check, Call&& call);
  bool write();
  bool read();
  void finish(Queue& queue, Bytes bytes, bool check) noexcept;

  int socket_ = -1;
  Queue out_, in_;
  bool may_write_ = true, may_read_ = true;
  bool bounded_ = false;
  bool gone_ = false;
  bool length_differs_ = false;
};

}  // namespace shoal::tcp
