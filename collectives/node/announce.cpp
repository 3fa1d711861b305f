#include "node/announce.hpp"

#include <chrono>
#include <numeric>
#include <span>

#include <shoal/runtime/cores.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/wait.hpp>

#include "node/node_collectives.hpp"
#include "node/peer_memory.hpp"
#include "node/quicker_way.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

// FNV-1a, 64 bits.
std::uint64_t hash_of(std::span<const Index> counts) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const Index count : counts) {
    hash = (hash ^ static_cast<std::uint64_t>(count)) * 0x100000001b3u;
  }
  return hash;
}

}  // namespace

std::string why_no_node_path(const Call& call) {
  if (!call.comm->on_one_node()) return "the ranks are on several nodes";
  if (!node_control(*call.comm).usable()) {
    const std::string reason = node_memory::why_not();
    return "there is no node-shared memory" + (reason.empty() ? "" : " (" + reason + ")");
  }
  return {};
}

std::string why_no_reading(const Call& call) {
  std::string why = why_no_node_path(call);
  if (why.empty() && !call.comm->extension<PeerMemory>().readable(node_control(*call.comm))) {
    why = "the kernel does not let every rank read the others' memory";
  }
  return why;
}

namespace {

// Elements of this rank's input.
Index input_count(const Call& call) {
  switch (call.operation) {
    case Operation::all_gather: return call.counts[static_cast<std::size_t>(call.comm->rank())];
    case Operation::all_to_all:
      return std::accumulate(call.counts.begin(), call.counts.end(), Index{0});
    default: return call.count;
  }
}

Index output_count(const Call& call) {
  switch (call.operation) {
    case Operation::reduce_scatter: return call.counts[static_cast<std::size_t>(call.comm->rank())];
    case Operation::all_to_all:
      return call.receive_counts.empty()
                 ? input_count(call)
                 : std::accumulate(call.receive_counts.begin(), call.receive_counts.end(), Index{0});
    default: return call.count;
  }
}

}  // namespace

Announcement announcement_of(const Call& call, NodePath path) {
  Announcement mine;
  mine.operation = static_cast<std::uint8_t>(call.operation);
  mine.type = static_cast<std::uint8_t>(call.type);
  mine.op = static_cast<std::uint8_t>(call.op);
  mine.count = call.count;
  mine.root = static_cast<std::uint32_t>(call.root) & 0xffffff;
  mine.variant = call.variant;
  mine.purpose = static_cast<std::uint8_t>(call.purpose) & 3;
  mine.declined = path == NodePath::declined ? 1 : 0;
  mine.shares = ranks_own_their_cores() ? 0 : 1;
  // What each rank of an all-to-all sends is its own affair; see Traffic.
  if (call.operation == Operation::all_to_all) {
    if (!call.receive_counts.empty()) mine.count = -1;
  } else if (!call.counts.empty()) {
    mine.layout = hash_of(call.counts);
  }
  return mine;
}

Announcement announcement_on(const Call& call, NodePath path) {
  Announcement mine = announcement_of(call, path);
  const auto place_of = [&](const void* data, Index count) {
    const node_memory::Location in_private{-1, reinterpret_cast<std::uint64_t>(data)};
    const Bytes bytes = static_cast<Bytes>(count) * size_of(call.type);
    return node_memory::locate(data, bytes).value_or(in_private);
  };
  mine.at.in = place_of(call.in, input_count(call));
  mine.at.out = place_of(call.out, output_count(call));
  // An empty input may be anywhere: nobody will read it.
  if (mine.at.in.owner < 0 && input_count(call) == 0) mine.at.in = {0, 0};
  return mine;
}

void announce_stage(NodeControl& control, const Call& staged) {
  control.announce(announcement_on(staged), nullptr, 0);
  if (control.all_shared(true, true)) return;
  throw Error(std::string(name_of(staged.operation)) + " over " + staged.comm->name(),
              "a rank of this node has no node-shared memory left for its stage",
              "free some, or choose an algorithm that sends messages");
}

namespace {

// Shorter calls have not much to gain.
constexpr Bytes least_timed = 128 << 10;

bool goes_direct(const NodeControl& control, const Call& call, Needs needs) {
  if (needs == Needs::input_of_root) return control.of(call.root).at.in.owner >= 0;
  return control.all_shared(true, needs == Needs::inputs_and_outputs);
}

// Whether some rank wants private memory read rather than to meet the others at every chunk.
bool asks_to_read(const NodeControl& control, NodePath path) {
  return path == NodePath::read || control.of(0).reads != 0 || control.any_beside();
}

}  // namespace

bool is_private(const Call& call, const Announcement& mine, Needs needs) noexcept {
  const bool in = mine.at.in.owner < 0;
  const bool out = mine.at.out.owner < 0;
  switch (needs) {
    case Needs::inputs: return in;
    case Needs::inputs_and_outputs: return in || out;
    case Needs::input_of_root: return call.comm->rank() == call.root ? in : out;
  }
  return false;
}

bool may_be_read(const Call& call, const Announcement& mine, NodePath path, Needs needs) {
  return path == NodePath::any && call.bytes() >= least_timed && is_private(call, mine, needs) &&
         !call.comm->extension<PeerMemory>().refused();
}

bool expects_to_read(const Call& call) { return call.comm->extension<QuickerWay>().reads(call); }

Announced::Announced(NodeControl& control, const Call& call, Announcement mine, NodePath path, Needs needs,
                     std::chrono::steady_clock::duration before)
    : call_(call), timed_(may_be_read(call, mine, path, needs)) {
  if (timed_ && call.comm->rank() == 0) mine.reads = expects_to_read(call) ? 1 : 0;
  control.announce(mine, nullptr, 0);
  timed_ = timed_ && !control.any_beside();
  if (timed_) began_ = std::chrono::steady_clock::now() - before;
  if (control.any_declined()) return;
  if (path == NodePath::staged) {
    way_ = Way::staged;
  } else if (path != NodePath::read && goes_direct(control, call, needs)) {
    way_ = Way::direct;
  } else if (path == NodePath::zero_copy) {
    throw Error(control.title(), "node_shared was asked for, but a rank's buffer is private",
                "use Buffer with Memory::node_shared on all ranks, or node_staged");
  } else {
    const bool reads = asks_to_read(control, path) && call.comm->extension<PeerMemory>().readable(control);
    way_ = reads ? Way::read : Way::staged;
  }
}

Announced::~Announced() {
  if (!timed_ || (way_ != Way::staged && way_ != Way::read)) return;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began_;
  call_.comm->extension<QuickerWay>().note(call_, way_ == Way::read, took.count());
}

bool goes_inline(NodePath path, Bytes bytes) {
  return bytes <= parameter(Parameter::inline_bytes) && path != NodePath::staged && path != NodePath::read;
}

bool announce_inline(NodeControl& control, const Call& call, NodePath path, Bytes bytes,
                     bool has_data) {
  // Beside so little data as lies in the announcement itself there is no room to say where the rest is.
  Announcement mine = bytes > Announcement::tiny_bytes ? announcement_on(call, path)
                                                       : announcement_of(call, path);
  mine.inlined = has_data && path != NodePath::declined ? 1 : 0;
  control.announce(mine, call.in, bytes);
  return !control.any_declined();
}

}  // namespace shoal
