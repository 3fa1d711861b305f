// A communicator's TCP connections between nodes.
//
// Where MPI sends by TCP, too, this is the shorter way: MPI copies a message into a buffer of its own
// before the kernel copies it, and once more behind the kernel, and looks for what has come by turns of
// asking. Here the kernel copies from and into the caller's memory, and who waits sleeps until it wakes
// him.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>

#include "tcp/stream.hpp"

namespace shoal::tcp {

/// Each communicator has its own, so that messages of two cannot mix. A connection is made when it is
/// first asked for, by the lower rank; the other takes it when it comes.
class Connections {
 public:
  /// Collective. Tries whether each node reaches the next one; if any does not, no rank uses them.
  explicit Connections(const Communicator& comm);
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;
  ~Connections();

  /// The way to a rank; null if it is MPI: on the same node, and where usable() is false. The first time
  /// the lower rank connects, which the other need not attend. It gets its socket() from
  /// accept_waiting(), and has −1 until then.
  Stream* to(Rank rank);
  bool usable() const noexcept { return usable_; }
  /// Readable when somebody wants to connect.
  int listener() const noexcept { return listener_; }
  void accept_waiting();

  /// A plan was left half done: what is on the way belongs to nobody. Ends all connections for good.
  void give_up() noexcept;
  bool given_up() const noexcept { return given_up_; }

 private:
  struct Peer {
    std::uint32_t address = 0;  // network byte order; 0: this host
    std::uint16_t port = 0;
    std::uint64_t secret = 0;
    bool elsewhere = false;  // on another node
  };
  struct Hello {
    std::uint64_t secret;  // of the one that listens
    std::int64_t rank;     // of the one that calls
  };
  bool listen() noexcept;
  bool call(Rank rank, std::uint32_t address);
  void exchange_cards(const Communicator& comm);
  bool try_neighbours(const Communicator& comm);
  void exchange_addresses(const Communicator& comm, bool good);
  Stream& stream(Rank rank) { return streams_[rank]; }

  Rank me_;
  bool usable_ = false;
  bool given_up_ = false;
  int listener_ = -1;
  std::vector<Peer> peers_;
  std::vector<std::vector<std::uint32_t>> addresses_;  // by rank; only while the neighbours are tried
  std::vector<bool> same_host_;
  std::map<Rank, Stream> streams_;
};

}  // namespace shoal::tcp
