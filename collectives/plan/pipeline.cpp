#include "plan/pipeline.hpp"

#include <mpi.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/wait.hpp>

#include "plan/segments.hpp"
#include "progress/runs_beside.hpp"
#include "reduce/reduce.hpp"
#include "tcp/connections.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

// Messages under way for each peer, each way: enough to keep the wire busy while this rank waits for
// its turn on the processor.
constexpr std::size_t window = tcp::Stream::most;
// From here on it is worth asking the kernel how near the peers are.
constexpr Bytes much = 1 << 20;
// Up to here a message that comes before its turn may wait in the kernel's buffers, and each look
// at its connection meanwhile would be a call for nothing. (Four hosts that share two cores reduce
// 8 bytes in 48 µs instead of 57.)
constexpr Bytes waits_for_its_turn = 8 << 10;
// After a peer has closed its connection: the watch knows why, and may end the run before this does.
constexpr std::chrono::seconds grace{10};

// Memory for what arrives and is not yet combined, kept from call to call: fresh memory costs a page
// fault each time.
struct Landing {
  explicit Landing(const Communicator&) {}
  Buffer<std::byte> memory;
  std::byte* at_least(Bytes bytes) {
    if (static_cast<Bytes>(memory.size()) < bytes) {
      memory = {};
      memory = Buffer<std::byte>(static_cast<Index>(bytes));
    }
    return memory.data();
  }
};

struct Segment {
  Index begin = 0;
  Index count = 0;
  int receives = 0;  // rounds that change it, in all
  int sends = 0;
  int received = 0;  // of these: done
  int sent = 0;
  bool gathered = false;
  bool moved = false;  // `out` has newer data than `in`
  bool last_combines = false;
};

// The receives of one segment in one round.
struct Arrival {
  int segment = 0;
  int needs_received = 0;
  int needs_sent = 0;
  int missing = 0;  // messages
  int before = 0;
  bool combines = false;
  // By message, in the order of combination. What combines needs a place to land, the rest has one.
  std::vector<int> peers;
  std::vector<const void*> parts;
  std::vector<std::byte*> slots;  // the same places, to give back to the peers
};

struct Outgoing {
  int segment;
  int needs_received;
};
struct Incoming {
  std::size_t arrival;
  std::size_t place;  // among the arrival's messages
};

// What is under way, or still to come, between this member and one other.
struct Peer {
  int member = 0;
  tcp::Stream* stream = nullptr;  // none: messages go by MPI
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  std::size_t started = 0;  // of out: handed to MPI
  std::size_t sent = 0;     // of out: done
  std::size_t posted = 0;   // of in
  std::size_t received = 0;
  std::vector<MPI_Request> sends, receives;  // of MPI: `window` each
  std::vector<std::byte*> free_slots;
};

class Pipeline {
 public:
  Pipeline(const Plan& plan, const Exchange& exchange);
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;
  ~Pipeline();
  void run();

 private:
  bool by_connections() const;
  void cut(const Plan& plan);
  void schedule(const Round& round);
  Peer& peer_of(int member);
  std::vector<int> segments_of(const Leg& leg) const;

  bool comes_too_early(const Peer& peer, const Arrival& arrival) const;
  bool post_receives(Peer& peer);
  bool start_sends(Peer& peer);
  bool collect();
  bool collect_from_mpi();
  bool collect_from_streams();
  void complete_send(Peer& peer);
  void complete_receive(Peer& peer);
  void pause(Waiter& waiter);
  bool combine_ready();
  void combine(Arrival& arrival);
  void finish(Segment& segment);

  void gather(Segment& segment);
  Bytes offset(const Segment& segment) const {
    return static_cast<Bytes>(segment.begin) * element_;
  }
  Bytes bytes(const Segment& segment) const { return static_cast<Bytes>(segment.count) * element_; }
  std::byte* out_at(const Segment& segment) const {
    return static_cast<std::byte*>(exchange_.out) + offset(segment);
  }
  // Where this member's present value of a segment lies.
  const std::byte* value_of(const Segment& segment) const {
    if (segment.moved) return out_at(segment);
    return static_cast<const std::byte*>(exchange_.in) + offset(segment);
  }
  std::string title() const {
    return std::string(exchange_.operation) + " over " + exchange_.comm->name();
  }
  std::string name_of(const Peer& peer) const {
    return name_of_rank(*exchange_.comm, exchange_.members[static_cast<std::size_t>(peer.member)]);
  }
  Error length_differs(const Peer& peer) const {
    return Error(title(), name_of(peer) + " sent a message of another length than expected",
                 "pass the same counts on all ranks");
  }

  const Exchange& exchange_;
  const Bytes element_;
  const MPI_Comm handle_;
  std::vector<Segment> segments_;
  std::vector<int> first_segment_;  // of each block, and one past the last
  std::vector<Arrival> arrivals_;
  std::vector<std::size_t> ready_;  // arrivals that are complete, but not yet combined
  std::vector<Peer> peers_;
  std::vector<int> peer_index_;  // by member; -1: none
  std::size_t left_ = 0;         // messages and combinations that are not done
  // What collect() asks MPI about: the oldest message of each peer, each way.
  std::vector<MPI_Request> heads_;
  std::vector<std::pair<std::size_t, bool>> head_of_;  // peer, and if it is a send
  std::vector<int> done_;
  std::vector<MPI_Status> statuses_;
  tcp::Connections& connections_;
  bool by_mpi_ = false;  // some peer is reached so
  std::vector<pollfd> sockets_;
  std::vector<tcp::Stream*> asked_;  // whose these are
  std::optional<std::chrono::steady_clock::time_point> gone_since_;
};

Pipeline::Pipeline(const Plan& plan, const Exchange& exchange)
    : exchange_(exchange),
      element_(size_of(exchange.type)),
      handle_(mpi_handle(*exchange.comm)),
      peer_index_(exchange.members.size(), -1),
      connections_(exchange.comm->extension<tcp::Connections>()) {
  if (connections_.given_up()) {
    throw Error(title(), "an earlier collective was left half done", "start again");
  }
  cut(plan);
  for (const Round& round : plan.rounds) schedule(round);
  // Staging for what is combined; what replaces lands in place.
  Bytes longest = 0, all = 0;
  for (const Segment& segment : segments_) {
    longest = std::max(longest, bytes(segment));
    all += bytes(segment);
  }
  longest = (longest + 63) / 64 * 64;
  // Beside a computation much has to be on its way whenever this thread gets the processor: with four
  // hosts on two cores 5 of 40 buckets of gradients were summed during the backward pass, 32 without
  // the bound.
  const bool bound = all >= much && !exchange.comm->extension<RunsBeside>().yes;
  if (bound) {
    for (const Peer& peer : peers_) {
      if (peer.stream != nullptr) peer.stream->expect_much();
    }
  }
  const auto slots_of = [&](const Peer& peer) {
    const auto combined = std::count_if(peer.in.begin(), peer.in.end(), [&](const Incoming& in) {
      return arrivals_[in.arrival].combines;
    });
    return std::min(window, static_cast<std::size_t>(combined));
  };
  std::size_t slots = 0;
  for (const Peer& peer : peers_) slots += slots_of(peer);
  std::byte* landing = exchange.comm->extension<Landing>().at_least(slots * longest);
  for (Peer& peer : peers_) {
    for (std::size_t i = slots_of(peer); i > 0; --i, landing += longest) {
      peer.free_slots.push_back(landing);
    }
    left_ += peer.in.size() + peer.out.size();
  }
  left_ += arrivals_.size();
}

// Whether all messages of all members take connections of our own: known to all alike.
bool Pipeline::by_connections() const {
  if (!connections_.usable()) return false;
  std::vector<bool> taken(static_cast<std::size_t>(exchange_.comm->node_count()));
  for (const Rank rank : exchange_.members) {
    const auto node = static_cast<std::size_t>(exchange_.comm->node_of(rank));
    if (taken[node]) return false;
    taken[node] = true;
  }
  return true;
}

void Pipeline::cut(const Plan& plan) {
  const Bytes wanted = wanted_segment_bytes(plan, element_, by_connections());
  Segments cut = cut_into_segments(plan.counts, exchange_.type, wanted);
  for (const Block& range : cut.all) {
    Segment& segment = segments_.emplace_back();
    segment.begin = range.begin;
    segment.count = range.size;
    segment.moved = exchange_.in == exchange_.out || exchange_.in == nullptr;
  }
  first_segment_ = std::move(cut.first);
}

std::vector<int> Pipeline::segments_of(const Leg& leg) const {
  std::vector<int> all;
  const int end = first_segment_[static_cast<std::size_t>(leg.first + leg.blocks)];
  for (int i = first_segment_[static_cast<std::size_t>(leg.first)]; i < end; ++i) all.push_back(i);
  return all;
}

Peer& Pipeline::peer_of(int member) {
  int& index = peer_index_[static_cast<std::size_t>(member)];
  if (index < 0) {
    index = static_cast<int>(peers_.size());
    Peer& peer = peers_.emplace_back();
    peer.member = member;
    peer.stream = connections_.to(exchange_.members[static_cast<std::size_t>(member)]);
    if (peer.stream == nullptr) {
      by_mpi_ = true;
      peer.sends.assign(window, MPI_REQUEST_NULL);
      peer.receives.assign(window, MPI_REQUEST_NULL);
    }
  }
  return peers_[static_cast<std::size_t>(index)];
}

void Pipeline::schedule(const Round& round) {
  for (const Leg& leg : round.sends) {
    for (const int i : segments_of(leg)) {
      Segment& segment = segments_[static_cast<std::size_t>(i)];
      peer_of(leg.peer).out.push_back({i, segment.receives});
      ++segment.sends;
    }
  }
  const auto arrive = [&](int i) {
    Segment& segment = segments_[static_cast<std::size_t>(i)];
    Arrival& arrival = arrivals_.emplace_back();
    arrival.segment = i;
    arrival.needs_received = segment.receives++;
    arrival.needs_sent = segment.sends;
    arrival.combines = round.combines;
    arrival.before = round.before;
    segment.last_combines = round.combines;
  };
  const auto expect = [&](std::size_t at, int member) {
    Arrival& arrival = arrivals_[at];
    peer_of(member).in.push_back({at, static_cast<std::size_t>(arrival.missing)});
    arrival.peers.push_back(member);
    ++arrival.missing;
  };
  if (round.receives.empty()) return;
  if (round.combines) {
    const std::size_t first = arrivals_.size();
    for (const int i : segments_of(round.receives.front())) arrive(i);
    for (const Leg& leg : round.receives) {
      for (std::size_t at = first; at < arrivals_.size(); ++at) expect(at, leg.peer);
    }
  } else {
    for (const Leg& leg : round.receives) {
      for (const int i : segments_of(leg)) {
        arrive(i);
        expect(arrivals_.size() - 1, leg.peer);
      }
    }
  }
}

void Pipeline::gather(Segment& segment) {
  if (segment.gathered) return;
  segment.gathered = true;
  if (exchange_.gather) exchange_.gather(segment.begin, segment.count);
}

// With several segments the message of one may stand before another's, whose turn it is.
bool Pipeline::comes_too_early(const Peer& peer, const Arrival& arrival) const {
  if (peer.stream == nullptr || segments_.size() > 1) return false;
  const Segment& segment = segments_.front();
  return segment.received < arrival.needs_received && bytes(segment) <= waits_for_its_turn;
}

bool Pipeline::post_receives(Peer& peer) {
  bool any = false;
  while (peer.posted < peer.in.size() && peer.posted - peer.received < window) {
    const Incoming& next = peer.in[peer.posted];
    Arrival& arrival = arrivals_[next.arrival];
    const Segment& segment = segments_[static_cast<std::size_t>(arrival.segment)];
    std::byte* to = out_at(segment);
    if (arrival.combines) {
      if (peer.free_slots.empty() || comes_too_early(peer, arrival)) break;
      to = peer.free_slots.back();
      peer.free_slots.pop_back();
      if (arrival.parts.empty()) {
        arrival.parts.resize(arrival.peers.size());
        arrival.slots.resize(arrival.peers.size());
      }
      arrival.parts[next.place] = to;
      arrival.slots[next.place] = to;
    } else if (segment.received < arrival.needs_received || segment.sent < arrival.needs_sent) {
      break;  // what is there is still needed
    }
    if (peer.stream != nullptr) {
      peer.stream->receive(to, bytes(segment));
      ++peer.posted;
      any = true;
      continue;
    }
    check_mpi(MPI_Irecv(to, static_cast<int>(bytes(segment)), MPI_BYTE,
                        exchange_.members[static_cast<std::size_t>(peer.member)], collective_tag,
                        handle_, &peer.receives[peer.posted % window]),
              exchange_.operation);
    ++peer.posted;
    any = true;
  }
  return any;
}

bool Pipeline::start_sends(Peer& peer) {
  bool any = false;
  while (peer.started < peer.out.size() && peer.started - peer.sent < window) {
    const Outgoing& next = peer.out[peer.started];
    Segment& segment = segments_[static_cast<std::size_t>(next.segment)];
    if (segment.received < next.needs_received) break;
    gather(segment);
    if (peer.stream != nullptr) {
      peer.stream->send(value_of(segment), bytes(segment));
      ++peer.started;
      any = true;
      continue;
    }
    check_mpi(MPI_Isend(value_of(segment), static_cast<int>(bytes(segment)), MPI_BYTE,
                        exchange_.members[static_cast<std::size_t>(peer.member)], collective_tag,
                        handle_, &peer.sends[peer.started % window]),
              exchange_.operation);
    ++peer.started;
    any = true;
  }
  return any;
}

bool Pipeline::collect() {
  bool any = collect_from_streams();
  if (by_mpi_) any |= collect_from_mpi();
  return any;
}

bool Pipeline::collect_from_streams() {
  bool any = false;
  for (Peer& peer : peers_) {
    tcp::Stream* const stream = peer.stream;
    if (stream == nullptr || stream->awaited() == 0) continue;
    if (stream->socket() < 0) connections_.accept_waiting();
    any |= stream->progress();
    for (std::size_t i = stream->take_sent(); i > 0; --i) complete_send(peer);
    for (std::size_t i = stream->take_received(); i > 0; --i) complete_receive(peer);
    // After what came before it, which may tell more (all_to_all/hierarchical.cpp).
    if (stream->length_differs()) throw length_differs(peer);
  }
  return any;
}

// Asks MPI, with one call that lets it work, for the oldest messages of all peers.
bool Pipeline::collect_from_mpi() {
  heads_.clear();
  head_of_.clear();
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    Peer& peer = peers_[i];
    if (peer.stream != nullptr) continue;
    if (peer.received < peer.posted) {
      heads_.push_back(peer.receives[peer.received % window]);
      head_of_.emplace_back(i, false);
    }
    if (peer.sent < peer.started) {
      heads_.push_back(peer.sends[peer.sent % window]);
      head_of_.emplace_back(i, true);
    }
  }
  if (heads_.empty()) return false;
  done_.resize(heads_.size());
  statuses_.resize(heads_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(heads_.size()), heads_.data(), &count, done_.data(),
                                statuses_.data());
  if (count == MPI_UNDEFINED) count = 0;
  for (int i = 0; i < count; ++i) {
    const auto [at, is_send] = head_of_[static_cast<std::size_t>(done_[static_cast<std::size_t>(i)])];
    Peer& peer = peers_[at];
    auto& request = is_send ? peer.sends[peer.sent % window] : peer.receives[peer.received % window];
    request = MPI_REQUEST_NULL;
    const MPI_Status& status = statuses_[static_cast<std::size_t>(i)];
    if (code == MPI_ERR_IN_STATUS && status.MPI_ERROR != MPI_SUCCESS) {
      int error_class = 0;
      MPI_Error_class(status.MPI_ERROR, &error_class);
      if (error_class == MPI_ERR_TRUNCATE) throw length_differs(peer);
      check_mpi(status.MPI_ERROR, exchange_.operation);
    }
    if (is_send) {
      complete_send(peer);
    } else {
      const Arrival& arrival = arrivals_[peer.in[peer.received].arrival];
      const Segment& segment = segments_[static_cast<std::size_t>(arrival.segment)];
      int bytes_got = 0;
      MPI_Get_count(&status, MPI_BYTE, &bytes_got);
      if (static_cast<Bytes>(bytes_got) != bytes(segment)) throw length_differs(peer);
      complete_receive(peer);
    }
  }
  if (code != MPI_ERR_IN_STATUS) check_mpi(code, exchange_.operation);
  return count > 0;
}

void Pipeline::complete_send(Peer& peer) {
  ++segments_[static_cast<std::size_t>(peer.out[peer.sent].segment)].sent;
  ++peer.sent;
  --left_;
}

void Pipeline::complete_receive(Peer& peer) {
  const std::size_t at = peer.in[peer.received].arrival;
  Arrival& arrival = arrivals_[at];
  Segment& segment = segments_[static_cast<std::size_t>(arrival.segment)];
  ++peer.received;
  --left_;
  if (--arrival.missing > 0) return;
  if (arrival.combines) {
    ready_.push_back(at);
    return;
  }
  segment.gathered = segment.moved = true;
  --left_;
  finish(segment);
}

// Combines what has come in whole. An arrival waits for the rounds before it, and until MPI has let
// go of what it sends from the same place.
bool Pipeline::combine_ready() {
  bool any = false;
  for (std::size_t i = 0; i < ready_.size();) {
    Arrival& arrival = arrivals_[ready_[i]];
    const Segment& segment = segments_[static_cast<std::size_t>(arrival.segment)];
    if (segment.received < arrival.needs_received || segment.sent < arrival.needs_sent) {
      ++i;
      continue;
    }
    ready_[i] = ready_.back();
    ready_.pop_back();
    combine(arrival);
    any = true;
  }
  return any;
}

void Pipeline::combine(Arrival& arrival) {
  Segment& segment = segments_[static_cast<std::size_t>(arrival.segment)];
  gather(segment);
  arrival.parts.insert(arrival.parts.begin() + arrival.before, value_of(segment));
  void* out = out_at(segment);
  const bool last = segment.last_combines && segment.received + 1 == segment.receives;
  const ReduceOp op = exchange_.op == ReduceOp::avg && !last ? ReduceOp::sum : exchange_.op;
  reduce_elements(arrival.parts.data(), static_cast<int>(arrival.parts.size()), &out, 1,
                  segment.count, exchange_.type, op, exchange_.ranks, false);
  for (std::size_t i = 0; i < arrival.slots.size(); ++i) {
    peer_of(arrival.peers[i]).free_slots.push_back(arrival.slots[i]);
  }
  segment.moved = true;
  --left_;
  finish(segment);
}

void Pipeline::finish(Segment& segment) {
  if (++segment.received == segment.receives && exchange_.deliver) {
    exchange_.deliver(segment.begin, segment.count);
  }
}

// Until something may have come. A peer that has gone is waited for a while longer.
void Pipeline::pause(Waiter& waiter) {
  const auto all_late = [&] {
    std::string whom;
    for (const Peer& peer : peers_) {
      if (peer.received == peer.in.size() && peer.sent == peer.out.size()) continue;
      whom += (whom.empty() ? "" : ", ") + name_of(peer);
    }
    return Waiter::Late{title(), whom};
  };
  sockets_.clear();
  asked_.clear();
  bool calls = false;
  for (const Peer& peer : peers_) {
    const tcp::Stream* const stream = peer.stream;
    if (stream == nullptr || stream->awaited() == 0) continue;
    if (stream->gone()) {
      const auto now = std::chrono::steady_clock::now();
      if (!gone_since_) gone_since_ = now;
      if (now > *gone_since_ + grace) {
        throw PeerError(title(), name_of(peer) + " has closed its connection",
                        "see whether it still runs");
      }
    } else if (stream->socket() < 0) {
      calls = true;
    } else {
      sockets_.push_back({stream->socket(), stream->awaited(), 0});
      asked_.push_back(peer.stream);
    }
  }
  if (calls) sockets_.push_back({connections_.listener(), POLLIN, 0});
  if (by_mpi_) {
    waiter.pause(all_late);  // MPI wants to be asked
    poll(sockets_.data(), sockets_.size(), 0);
  } else {
    waiter.pause_on(sockets_.data(), sockets_.size(), all_late);
  }
  for (std::size_t i = 0; i < asked_.size(); ++i) asked_[i]->ready(sockets_[i].revents);
}

void Pipeline::run() {
  Waiter waiter;
  while (left_ > 0) {
    bool any = false;
    for (Peer& peer : peers_) any |= post_receives(peer);
    for (Peer& peer : peers_) any |= start_sends(peer);
    any |= collect();
    any |= combine_ready();
    if (any) {
      waiter = Waiter();
    } else {
      pause(waiter);
    }
  }
  // Segments that no message changes (a plan may have some) are final from the start.
  for (Segment& segment : segments_) {
    if (segment.receives > 0 || !exchange_.deliver) continue;
    gather(segment);
    exchange_.deliver(segment.begin, segment.count);
  }
}

Pipeline::~Pipeline() {
  if (left_ == 0) return;
  connections_.give_up();
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized) return;
  for (Peer& peer : peers_) {
    for (auto* requests : {&peer.sends, &peer.receives}) {
      for (MPI_Request& request : *requests) {
        if (request == MPI_REQUEST_NULL) continue;
        MPI_Cancel(&request);
        MPI_Request_free(&request);
      }
    }
  }
}

}  // namespace

void run_plan(const Plan& plan, const Exchange& exchange) { Pipeline(plan, exchange).run(); }

}  // namespace shoal
