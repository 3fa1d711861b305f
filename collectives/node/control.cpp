#include "node/control.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/wait.hpp>

#include "exact/exact.hpp"
#include "node/ordered.hpp"
#include "reduce/claim_line.hpp"
#include "transport.hpp"
#include "tuning/current.hpp"

namespace shoal {

// Two cache lines apart: processors fetch lines in pairs.
constexpr std::size_t apart = 128;
// Inlined data of up to so many bytes is watched together with its flag.
constexpr Bytes watched_bytes = 256;

struct NodeControl::Slot {
  // Flag and announcement share a line, so that seeing the flag brings the announcement. There are
  // two, used in turn: a rank may announce the next collective while a slower one still reads this
  // one; it cannot get further ahead, since that takes everyone's next announcement.
  struct alignas(64) Line {
    std::atomic<std::uint64_t> flag;
    Announcement announcement;
  };
  struct alignas(apart) Turn {
    Line line;
    std::byte data[inline_bytes];
  };
  std::array<Turn, 2> turn;
  alignas(apart) std::atomic<std::uint64_t> met;
  alignas(apart) node_memory::Location stage;
  Door door;
  // Parts taken and done (see share_out), under the number of the collective, so that nobody has to set
  // them back: in slot i what is taken of those of core i, in rank 0's what is done.
  alignas(apart) std::atomic<std::uint64_t> taken;
  alignas(apart) std::atomic<std::uint64_t> done;
};

struct NodeControl::Block {
  alignas(apart) std::atomic<int> closed;  // ranks that will never look here again
  Slot slots[1];  // one for each rank, then as many for the flags beside these
};

namespace {

static_assert(sizeof(Announcement) + sizeof(std::uint64_t) <= 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

// Memory that other ranks may still look at when this rank is done with it. It goes back to the heap
// once all of them have counted themselves off.
class Retired {
 public:
  void add(void* memory, const std::atomic<int>* closed, int ranks) {
    const std::lock_guard lock(mutex_);
    entries_.push_back({memory, closed, ranks});
    std::erase_if(entries_, [](const Entry& entry) {
      if (entry.closed->load(std::memory_order_acquire) < entry.ranks) return false;
      // Memory of a Runtime that has ended is not this heap's to take back.
      const auto place = node_memory::locate(entry.memory);
      if (place && place->owner == node_memory::node_rank()) node_memory::release(entry.memory);
      return true;
    });
  }

 private:
  struct Entry {
    void* memory;
    const std::atomic<int>* closed;
    int ranks;
  };
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

Retired& retired() {
  static Retired instance;
  return instance;
}

}  // namespace

NodeControl::NodeControl(const Communicator& comm)
    : group_(comm.name()),
      rank_(comm.rank()),
      ranks_(comm.size()),
      stage_bytes_(tuned_parameter(Parameter::stage_bytes)),
      pointers_(static_cast<std::size_t>(comm.size())) {
  for (Rank rank = 0; rank < ranks_; ++rank) hosts_.push_back(comm.host_of(rank));
  // If the ranks share nodes is known to all alike; what else may go wrong is not.
  if (!comm.on_one_node()) return;
  const MPI_Comm mpi = mpi_handle(comm);
  const std::string others = "the other ranks";
  auto good = std::make_unique<int>(node_memory::available() ? 1 : 0);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(MPI_IN_PLACE, good.get(), 1, MPI_INT, MPI_MIN, mpi, &request), operation_);
  complete(request, good, title(), others);
  if (*good == 0) return;
  auto location = std::make_unique<node_memory::Location>();
  if (rank_ == 0) *location = make_block();
  check_mpi(MPI_Ibcast(location.get(), sizeof *location, MPI_BYTE, 0, mpi, &request), operation_);
  complete(request, location, title(), others);
  after_seeing_flag();  // the memory may have been another rank's buffer, which this process has read
  if (location->owner >= 0) block_ = static_cast<Block*>(node_memory::address(*location));
}

NodeControl::NodeControl(const Communicator& comm, const Communicator& whole)
    : group_(comm.name()),
      rank_(comm.rank()),
      ranks_(comm.size()),
      stage_bytes_(tuned_parameter(Parameter::stage_bytes)),
      pointers_(static_cast<std::size_t>(comm.size())) {
  for (Rank rank = 0; rank < ranks_; ++rank) hosts_.push_back(comm.host_of(rank));
  struct Card {
    node_memory::Location block;
    int good;
  };
  auto cards = std::make_unique<std::vector<Card>>(static_cast<std::size_t>(whole.size()));
  Card& mine = (*cards)[static_cast<std::size_t>(whole.rank())];
  mine = {{-1, 0}, ranks_ == 1 || node_memory::available() ? 1 : 0};
  if (ranks_ > 1 && rank_ == 0 && mine.good != 0) {
    mine.block = make_block();
    mine.good = mine.block.owner >= 0 ? 1 : 0;
  }
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, cards->data(), sizeof(Card), MPI_BYTE,
                           mpi_handle(whole), &request),
            operation_);
  complete(request, cards, title(), "the other ranks");
  after_seeing_flag();
  everywhere_ =
      std::all_of(cards->begin(), cards->end(), [](const Card& card) { return card.good != 0; });
  if (!everywhere_ || ranks_ == 1) return;
  // The first rank of the node.
  const int node = whole.node_of(whole.rank());
  Rank first = 0;
  while (whole.node_of(first) != node) ++first;
  block_ =
      static_cast<Block*>(node_memory::address((*cards)[static_cast<std::size_t>(first)].block));
}

// Owner −1: there is no room, and the ranks meet through MPI instead.
node_memory::Location NodeControl::make_block() {
  const Bytes bytes = sizeof(Block) + sizeof(Slot) * static_cast<Bytes>(2 * ranks_) + apart;
  try {
    memory_ = node_memory::allocate(bytes);
  } catch (const Error&) {
    return {-1, 0};
  }
  const auto misaligned = reinterpret_cast<std::uintptr_t>(memory_) % apart;
  auto* aligned = static_cast<std::byte*>(memory_) + (misaligned == 0 ? 0 : apart - misaligned);
  auto* block = new (aligned) Block;
  block->closed.store(0);
  // The memory is zero: most of it stays untouched, and costs nothing.
  for (int slot = 0; slot < 2 * ranks_; ++slot) new (&block->slots[slot]) Slot;
  return *node_memory::locate(block);
}

NodeControl::NodeControl(const Beside& beside)
    : group_(beside.first.group_),
      rank_(beside.first.rank_),
      ranks_(beside.first.ranks_),
      stage_bytes_(beside.first.stage_bytes_),
      hosts_(beside.first.hosts_),
      block_(beside.first.block_),
      beside_(true),
      pointers_(static_cast<std::size_t>(ranks_)) {}

NodeControl::~NodeControl() {
  if (!node_memory::available()) return;
  if (block_ == nullptr) {
    if (memory_ != nullptr)
      node_memory::release(memory_);  // another node had none: nobody has seen it
    return;
  }
  // Each piece of memory counts the ranks that are done with it, in its owner's heap.
  for (std::size_t rank = 0; rank < stages_.size(); ++rank) {
    std::byte* stage = stages_[rank];
    auto& closed = *reinterpret_cast<std::atomic<int>*>(stage + 2 * stage_bytes_);
    closed.fetch_add(1, std::memory_order_acq_rel);
    if (static_cast<Rank>(rank) == rank_) retired().add(stage, &closed, ranks_);
  }
  if (beside_) return;
  block_->closed.fetch_add(1, std::memory_order_acq_rel);
  if (memory_ != nullptr) retired().add(memory_, &block_->closed, ranks_);
}

std::string NodeControl::title() const { return std::string(operation_) + " over " + group_; }

std::string NodeControl::name_of_rank(Rank rank) const {
  return "rank " + std::to_string(rank) + " on " + hosts_[static_cast<std::size_t>(rank)];
}

NodeControl::Slot& NodeControl::slot(Rank rank) const noexcept {
  return block_->slots[beside_ ? ranks_ + rank : rank];
}

void NodeControl::wait_for(const std::atomic<std::uint64_t>& flag, std::uint64_t value,
                           Rank whom, const std::byte* data, Bytes bytes) {
  // The answer is mostly there within a few hundred nanoseconds, which a pause would round up.
  for (int glance = 0; glance < 64; ++glance) {
    // Data that comes with the flag is written before it: looked at in between, its lines travel at the
    // same time and not one after the other.
    for (Bytes at = 0; at < bytes; at += 64) {
      static_cast<void>(*static_cast<const volatile std::byte*>(data + at));
    }
    if (flag.load(std::memory_order_acquire) >= value) return after_seeing_flag();
  }
  Waiter waiter;
  while (flag.load(std::memory_order_acquire) < value) {
    waiter.pause([&] { return Waiter::Late{title(), name_of_rank(whom)}; });
  }
  after_seeing_flag();
}

void NodeControl::post(const Announcement& mine, const void* inline_data, Bytes inline_size) {
  operation_ = name_of(static_cast<Operation>(mine.operation)).data();
  ++sequence_;
  Slot::Turn& turn = slot(rank_).turn[sequence_ % 2];
  turn.line.announcement = mine;
  if (mine.inlined && inline_size > 0) {
    std::byte* const place =
        inline_size <= Announcement::tiny_bytes ? turn.line.announcement.tiny : turn.data;
    std::memcpy(place, inline_data, inline_size);
  }
  used_ = mine.inlined ? std::min<Bytes>(inline_size, 512) + sizeof(Slot::Line) : 64;
  before_raising_flag();
  turn.line.flag.store(sequence_, std::memory_order_release);
}

bool NodeControl::all_posted() const noexcept {
  for (Rank rank = 0; rank < ranks_; ++rank) {
    const auto& flag = slot(rank).turn[sequence_ % 2].line.flag;
    if (flag.load(std::memory_order_acquire) < sequence_) return false;
  }
  after_seeing_flag();
  return true;
}

void NodeControl::announce(const Announcement& mine, const void* inline_data, Bytes inline_size) {
  post(mine, inline_data, inline_size);
  const bool beside = inline_size > Announcement::tiny_bytes && inline_size <= watched_bytes;
  for (Rank rank = 0; rank < ranks_; ++rank) {
    const Slot::Turn& theirs = slot(rank).turn[sequence_ % 2];
    wait_for(theirs.line.flag, sequence_, rank, theirs.data, beside ? inline_size : 0);
  }
  settle();
}

const Announcement& NodeControl::of(Rank rank) const noexcept {
  return slot(rank).turn[sequence_ % 2].line.announcement;
}

const std::byte* NodeControl::inline_of(Rank rank, Bytes size) const noexcept {
  const Slot::Turn& turn = slot(rank).turn[sequence_ % 2];
  return size <= Announcement::tiny_bytes ? turn.line.announcement.tiny : turn.data;
}

std::string NodeControl::text_of(Rank rank, const Announcement& first) const {
  const Announcement& a = of(rank);
  const auto operation = static_cast<Operation>(a.operation);
  const auto purpose = static_cast<Purpose>(a.purpose);
  std::string text = name_of_rank(rank) + " called " + std::string(name_of(operation, purpose));
  if (operation == Operation::barrier) return text;
  text += " of " + std::to_string(a.count) + " " + std::string(name_of(static_cast<DType>(a.type)));
  std::string more;
  if (operation == Operation::all_reduce || operation == Operation::reduce_scatter) {
    more += ", " + std::string(reduction_name(static_cast<ReduceOp>(a.op)));
  }
  if (operation == Operation::broadcast || purpose != Purpose::itself) {
    more += ", root " + std::to_string(a.root);
  }
  if (a.count == first.count && a.layout != first.layout) more += ", other counts by rank";
  if (a.variant != first.variant) more += ", another type or operation of those that go by this name";
  return more.empty() ? text : text + " (" + more.substr(2) + ")";
}

void NodeControl::settle() {
  // The other turn is done with: its lines can come back from those who read them, for the next call
  // to write at once.
  auto* const next = reinterpret_cast<std::byte*>(&slot(rank_).turn[(sequence_ + 1) % 2]);
  for (Bytes at = 0; at < used_; at += 64) claim_line(next + at);
  const Announcement& first = of(0);
  declined_ = first.declined != 0;
  for (Rank rank = 1; rank < ranks_; ++rank) {
    const Announcement& other = of(rank);
    declined_ = declined_ || other.declined != 0;
    if (other.operation == first.operation && other.count == first.count &&
        other.type == first.type && other.op == first.op && other.root == first.root &&
        other.layout == first.layout && other.purpose == first.purpose &&
        other.variant == first.variant) {
      continue;
    }
    throw Error("collective over " + group_, text_of(0, first) + ", but " + text_of(rank, first),
                "make the same call on all ranks");
  }
}

bool NodeControl::all_shared(bool in, bool out) const noexcept {
  for (Rank rank = 0; rank < ranks_; ++rank) {
    const Announcement& theirs = of(rank);
    if (in && theirs.at.in.owner < 0) return false;
    if (out && theirs.at.out.owner < 0) return false;
  }
  return true;
}

bool NodeControl::all_staged() const noexcept {
  for (Rank rank = 0; rank < ranks_; ++rank) {
    if (of(rank).staged == 0) return false;
  }
  return true;
}

bool NodeControl::any_beside() const noexcept {
  for (Rank rank = 0; rank < ranks_; ++rank) {
    if (of(rank).beside != 0) return true;
  }
  return false;
}

Door& NodeControl::door_of(Rank rank) const noexcept { return slot(rank).door; }

void NodeControl::arrive() noexcept {
  ++meetings_;
  before_raising_flag();
  slot(rank_).met.store(meetings_, std::memory_order_release);
}

bool NodeControl::all_met() const noexcept {
  for (Rank rank = 0; rank < ranks_; ++rank) {
    if (slot(rank).met.load(std::memory_order_acquire) < meetings_) return false;
  }
  after_seeing_flag();
  return true;
}

void NodeControl::wait_for_all() {
  for (Rank rank = 0; rank < ranks_; ++rank) wait_for(slot(rank).met, meetings_, rank);
}

void NodeControl::meet() {
  arrive();
  wait_for_all();
}

namespace {

// A collective's number, over how many of its parts.
constexpr int part_bits = 24;

// One more of the parts of the collective of `base`; returns how many there were.
std::uint64_t count_one(std::atomic<std::uint64_t>& counter, std::uint64_t base) noexcept {
  std::uint64_t known = counter.load(std::memory_order_relaxed);
  std::uint64_t before = 0;
  do {
    before = std::max(known, base);
  } while (!counter.compare_exchange_weak(known, before + 1, std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
  return before - base;
}

}  // namespace

// The numbers cannot run ahead of a rank: work on the next collective begins when all have announced it.
Index NodeControl::take_part(int core, Index parts) noexcept {
  std::atomic<std::uint64_t>& taken = slot(core).taken;
  const std::uint64_t base = sequence_ << part_bits;
  const auto all = base + static_cast<std::uint64_t>(parts);
  if (taken.load(std::memory_order_relaxed) >= all) return parts;
  return static_cast<Index>(count_one(taken, base));
}

void NodeControl::part_done() noexcept {
  before_raising_flag();
  count_one(slot(0).done, sequence_ << part_bits);
}

// Whether those at work have done everything within some turns. If not, a core has other things to do,
// and its parts are better done elsewhere, whatever it costs to fetch their lines.
bool NodeControl::all_parts_done_soon(Index parts) {
  constexpr int turns = 16;
  const auto all = (sequence_ << part_bits) + static_cast<std::uint64_t>(parts);
  Waiter waiter;
  for (int turn = 0; turn < turns; ++turn) {
    if (slot(0).done.load(std::memory_order_acquire) >= all) {
      after_seeing_flag();
      return true;
    }
    waiter.pause([&] { return Waiter::Late{title(), "the other ranks"}; });
  }
  return false;
}

void NodeControl::wait_for_parts(Index parts) {
  const auto all = (sequence_ << part_bits) + static_cast<std::uint64_t>(parts);
  wait_for(slot(0).done, all, 0);
}

void NodeControl::offer_stage() noexcept {
  node_memory::Location& place = slot(rank_).stage;
  place.owner = -1;
  try {
    void* const mine = node_memory::allocate(2 * stage_bytes_ + apart);
    new (static_cast<std::byte*>(mine) + 2 * stage_bytes_) std::atomic<int>(0);
    place = *node_memory::locate(mine);
  } catch (const Error&) {
    // The others must hear of it before anyone gives up.
  }
}

void NodeControl::take_stages() {
  std::vector<std::byte*> stages;
  for (Rank rank = 0; rank < ranks_; ++rank) {
    const node_memory::Location& theirs = slot(rank).stage;
    if (theirs.owner < 0) {
      const node_memory::Location& mine = slot(rank_).stage;
      if (mine.owner >= 0) node_memory::release(node_memory::address(mine));
      throw NoStage(title(), name_of_rank(rank) + " has no node-shared memory left for its stage",
                    "free some, or choose an algorithm that sends messages");
    }
    stages.push_back(static_cast<std::byte*>(node_memory::address(theirs)));
  }
  stages_ = std::move(stages);
}

void NodeControl::make_stages() {
  offer_stage();
  meet();
  take_stages();
}

std::byte* NodeControl::stage_of(Rank rank, Index chunk) {
  if (stages_.empty()) make_stages();
  return stages_[static_cast<std::size_t>(rank)] +
         static_cast<Bytes>((chunks_ + chunk) % 2) * stage_bytes_;
}

}  // namespace shoal
