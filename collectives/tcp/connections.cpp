#include "tcp/connections.hpp"

#include <mpi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <random>
#include <string_view>

#include <shoal/runtime/log.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/settings.hpp>

#include "tcp/addresses.hpp"
#include "tcp/mpi_by_tcp.hpp"
#include "transport.hpp"

namespace shoal::tcp {
namespace {

using Clock = std::chrono::steady_clock;
// For a neighbour that has said it listens.
constexpr std::chrono::milliseconds patience{3000};
constexpr std::size_t most_addresses = 6;

// What a rank tells all others.
struct Card {
  std::uint64_t secret = 0;
  std::array<std::uint32_t, most_addresses> addresses{};  // 0: no more
  std::uint32_t port = 0;
  std::uint32_t good = 0;
};

sockaddr_in address_of(std::uint32_t address, std::uint16_t port) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = address;
  name.sin_port = htons(port);
  return name;
}

// BBR, where that is the system's choice, sends by timers instead of as acknowledgements come, for the
// sake of long ways that lose packets. Between near hosts that costs more than it brings: four that share
// two cores reduce 16 MiB over 10 Gbit/s in 29 ms without, in 58 ms with it. A connection that has begun
// with it keeps the timers, so this comes before; those that are accepted inherit it.
void leave_bbr(int socket) {
  std::array<char, 16> name{};
  socklen_t size = name.size() - 1;
  if (getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) != 0) return;
  if (!std::string_view(name.data()).starts_with("bbr")) return;
  for (const std::string_view other : {"cubic", "reno"}) {  // who may not have the one may have the other
    if (setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, other.data(),
                   static_cast<socklen_t>(other.size())) == 0) {
      return;
    }
  }
}

void send_at_once(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

bool wait_for(int socket, short events, Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  pollfd entry{socket, events, 0};
  return left.count() > 0 && poll(&entry, 1, static_cast<int>(left.count())) > 0;
}

// At the time of the call it has been sent, or is about to be: a hello is its first word.
bool read_whole(int socket, void* data, std::size_t bytes) {
  const auto until = Clock::now() + std::chrono::seconds(1);
  auto* at = static_cast<std::byte*>(data);
  while (bytes > 0) {
    if (!wait_for(socket, POLLIN, until)) return false;
    const ssize_t got = recv(socket, at, bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got > 0) {
      at += got;
      bytes -= static_cast<std::size_t>(got);
    }
  }
  return true;
}

std::uint32_t local_address(int socket) {
  sockaddr_in name{};
  socklen_t size = sizeof name;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) return 0;
  return name.sin_addr.s_addr;
}

template <class T>
std::vector<T> all_of(const Communicator& comm, const T& mine) {
  auto all = std::make_unique<std::vector<T>>(static_cast<std::size_t>(comm.size()));
  (*all)[static_cast<std::size_t>(comm.rank())] = mine;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, all->data(), sizeof(T), MPI_BYTE,
                           mpi_handle(comm), &request),
            "connect");
  complete(request, all, "connect over " + comm.name(), "the other ranks");
  return *all;
}

// The first rank after this one that is on another node.
Rank next_of(const Communicator& comm, Rank rank) {
  Rank next = rank;
  do next = (next + 1) % comm.size();
  while (comm.node_of(next) == comm.node_of(rank));
  return next;
}

}  // namespace

Connections::Connections(const Communicator& comm) : me_(comm.rank()) {
  if (comm.on_one_node()) return;
  exchange_cards(comm);
  if (!usable_) return;
  exchange_addresses(comm, try_neighbours(comm));
  addresses_.clear();
  if (!usable_ && comm.rank() == 0) {
    log::info("collectives over " + comm.name() +
              ": a node does not reach the next one by TCP; messages go by MPI");
  }
}

Connections::~Connections() {
  streams_.clear();
  if (listener_ >= 0) ::close(listener_);
}

bool Connections::listen() noexcept {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_in any = address_of(htonl(INADDR_ANY), 0);
  leave_bbr(listener_);
  return listener_ >= 0 &&
         ::bind(listener_, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0 &&
         ::listen(listener_, SOMAXCONN) == 0;
}

void Connections::exchange_cards(const Communicator& comm) {
  Card mine;
  const std::vector<Address> own = own_addresses();
  if (settings().tcp && mpi_sends_by_tcp() && listen()) {
    sockaddr_in name{};
    socklen_t size = sizeof name;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&name), &size);
    mine.port = ntohs(name.sin_port);
    std::random_device random;
    mine.secret = std::uint64_t{random()} << 32 | random();
    for (std::size_t i = 0; i < std::min(own.size(), most_addresses); ++i) {
      mine.addresses[i] = own[i].address;
    }
    mine.good = 1;
  }
  usable_ = true;
  const std::vector<Card> cards = all_of(comm, mine);
  for (Rank rank = 0; rank < comm.size(); ++rank) {
    const Card& card = cards[static_cast<std::size_t>(rank)];
    usable_ = usable_ && card.good != 0;
    Peer peer;
    peer.port = static_cast<std::uint16_t>(card.port);
    peer.secret = card.secret;
    peer.elsewhere = comm.node_of(rank) != comm.node_of(me_);
    peers_.push_back(peer);
    same_host_.push_back(comm.host_of(rank) == comm.host_of(me_));
    const auto end = std::find(card.addresses.begin(), card.addresses.end(), 0u);
    addresses_.push_back(same_host_.back()
                             ? std::vector<std::uint32_t>{htonl(INADDR_LOOPBACK)}
                             : to_try(own, {card.addresses.begin(), end}));
  }
}

// Begins to connect, and says who calls. False if it cannot be.
bool Connections::call(Rank rank, std::uint32_t address) {
  const Peer& peer = peers_[static_cast<std::size_t>(rank)];
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return false;
  send_at_once(socket);
  leave_bbr(socket);
  const sockaddr_in name = address_of(address, peer.port);
  const Hello hello{peer.secret, me_};
  bool good = ::connect(socket, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
  if (!good && errno == EINPROGRESS) {
    int problem = 0;
    socklen_t size = sizeof problem;
    good = wait_for(socket, POLLOUT, Clock::now() + patience) &&
           getsockopt(socket, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0;
  }
  good = good && ::send(socket, &hello, sizeof hello, MSG_NOSIGNAL) == sizeof hello;
  if (good) {
    stream(rank).open(socket);
  } else {
    ::close(socket);
  }
  return good;
}

void Connections::accept_waiting() {
  for (;;) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) return;
    Hello hello{};
    const bool known = read_whole(socket, &hello, sizeof hello) &&
                       hello.secret == peers_[static_cast<std::size_t>(me_)].secret &&
                       hello.rank >= 0 && hello.rank < static_cast<std::int64_t>(peers_.size());
    if (!known || stream(static_cast<Rank>(hello.rank)).socket() >= 0) {
      ::close(socket);  // a stranger
      continue;
    }
    send_at_once(socket);
    stream(static_cast<Rank>(hello.rank)).open(socket);
  }
}

// Every rank and the next one on another node, all at once.
bool Connections::try_neighbours(const Communicator& comm) {
  std::vector<Rank> above, below;  // whom to call, who calls
  for (Rank rank = 0; rank < comm.size(); ++rank) {
    if (!peers_[static_cast<std::size_t>(rank)].elsewhere) continue;
    if (next_of(comm, rank) != me_ && next_of(comm, me_) != rank) continue;
    (rank > me_ ? above : below).push_back(rank);
  }
  bool good = true;
  for (const Rank rank : above) {
    const std::vector<std::uint32_t>& addresses = addresses_[static_cast<std::size_t>(rank)];
    good = std::any_of(addresses.begin(), addresses.end(),
                       [&](std::uint32_t address) { return call(rank, address); }) &&
           good;
  }
  const auto until = Clock::now() + patience;
  const auto missing = [&] {
    return std::any_of(below.begin(), below.end(),
                       [&](Rank rank) { return stream(rank).socket() < 0; });
  };
  while (missing()) {
    if (!wait_for(listener_, POLLIN, until)) return false;
    accept_waiting();
  }
  return good;
}

// At which address each rank was reached, and if all were.
void Connections::exchange_addresses(const Communicator& comm, bool good) {
  struct Reached {
    std::uint32_t good, address;
  } mine{good ? 1u : 0u, 0};
  for (const auto& [rank, each] : streams_) {
    if (each.socket() >= 0 && !same_host_[static_cast<std::size_t>(rank)]) {
      mine.address = local_address(each.socket());
    }
  }
  const std::vector<Reached> all = all_of(comm, mine);
  for (Rank rank = 0; rank < comm.size(); ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    // Of ranks that only have neighbours on their own host nothing is known but what they said.
    const auto& said = addresses_[at];
    peers_[at].address = same_host_[at] ? htonl(INADDR_LOOPBACK)
                         : all[at].address != 0 || said.empty() ? all[at].address
                                                                : said.front();
    usable_ = usable_ && all[at].good != 0;
  }
  if (!usable_) streams_.clear();
}

Stream* Connections::to(Rank rank) {
  const Peer& peer = peers_.empty() ? Peer{} : peers_[static_cast<std::size_t>(rank)];
  if (!usable_ || !peer.elsewhere) return nullptr;
  Stream& way = stream(rank);
  if (way.socket() < 0 && !way.gone()) {
    if (rank < me_) {
      accept_waiting();
    } else if (!call(rank, peer.address)) {
      way.close();  // nobody there: the wait for it will say so
    }
  }
  return &way;
}

void Connections::give_up() noexcept {
  given_up_ = true;
  for (auto& [rank, each] : streams_) each.close();
}

}  // namespace shoal::tcp
