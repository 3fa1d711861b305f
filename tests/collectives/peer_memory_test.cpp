// Law: what lies in the others' private memory is summed and moved as it would be through stages, whether ranks wait
// beside computation or have found out that to read it is the quicker; where one of them may not read it all take
// stages.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/all_to_all.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/collectives/reduce_scatter.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/wait.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"
#include "node/node_collectives.hpp"
#include "node/peer_memory.hpp"
#include "node/quicker_way.hpp"

namespace shoal::testing {
namespace {

// Reads do not begin below this.
constexpr Bytes least = 1 << 20;

struct Naps {
  Naps() { nap_in_this_thread(); }
  ~Naps() { pace_this_thread(WaitPolicy::automatic); }
};

// One all-reduce; `in_place` as it says. Compares with the reference.
void sum_and_compare(const Communicator& comm, DType type, ReduceOp op, Index count, Memory memory,
                     bool in_place, Index shift, bool naps) {
  const std::vector<Elements> inputs = inputs_of_all(comm.size(), count, type);
  const Elements& mine = inputs[static_cast<std::size_t>(comm.rank())];
  Elements in(count, type, memory, shift);
  in.copy_from(mine);
  Elements apart(count, type, memory, shift);
  apart.poison();
  Elements& out = in_place ? in : apart;
  if (naps) {
    const Naps here;
    all_reduce(comm, in.data(), out.data(), count, type, op);
  } else {
    all_reduce(comm, in.data(), out.data(), count, type, op);
  }
  // Nobody reads it any more: what comes now disturbs no other rank.
  Elements result(count, type);
  result.copy_from(out);
  out.poison();
  ASSERT_TRUE(is_reduction(result, expected(inputs, op), 0, count));
  ASSERT_TRUE(out.margin_intact());
  ASSERT_TRUE(in_place || same(in.at(0), mine.at(0), count, type));
  EXPECT_TRUE(agreed(result.hash(0xcbf29ce484222325u))) << "the ranks' results differ in some bits";
}

TEST(PeerMemory, SumsAsThroughStages) {
  const Communicator comm = world().duplicate("beside");
  const Rank me = comm.rank();
  int number = 0;
  for (const DType type : {DType::f32, DType::i64}) {
    const auto first = static_cast<Index>(least / size_of(type));
    for (const Index count : {first, first + 5}) {
      for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max}) {
        const bool in_place = number % 2 == 0;
        const bool only_first = number % 3 == 2;  // naps: the others wait for it as usual
        const bool mixed = number % 4 == 3;       // some have memory that all see
        const Memory memory =
            mixed && me % 2 == 1 && node_memory::available() ? Memory::node_shared : Memory::local;
        SCOPED_TRACE(std::string(name_of(type)) + ", " + std::to_string(count) + " elements, way " +
                     std::to_string(number));
        sum_and_compare(comm, type, op, count, memory, in_place, number % 5 == 4 ? 1 : 0,
                        !only_first || me == 0);
        ++number;
      }
    }
  }
  if (comm.size() > 1 && node_control(comm).usable()) {
    EXPECT_TRUE(comm.extension<PeerMemory>().asked()) << "everything went through stages";
  }
}

TEST(PeerMemory, IsLeftAloneWhereNobodyWaitsBesideComputation) {
  const Communicator comm = world().duplicate("alone");
  sum_and_compare(comm, DType::f32, ReduceOp::sum, static_cast<Index>(least / 4), Memory::local, true, 0,
                  false);
  sum_and_compare(comm, DType::f32, ReduceOp::sum, static_cast<Index>(least / 4 - 1), Memory::local, true, 0,
                  true);
  EXPECT_FALSE(comm.extension<PeerMemory>().asked());
}

// Calls of one kind, after each of which `seconds_of` says how long it took; how many of them read.
template <class Seconds>
int reads_among(TwoWays& ways, int calls, Seconds&& seconds_of) {
  int reads = 0;
  for (int call = 0; call < calls; ++call) {
    const bool read = ways.reads();
    reads += read ? 1 : 0;
    ways.note(read, seconds_of(read, call));
  }
  return reads;
}

TEST(TwoWays, GoesTheQuickerAndTriesTheOther) {
  TwoWays ways;
  const auto stages_are_quicker = [](bool read, int) { return read ? 3e-3 : 1e-3; };
  const int tried = reads_among(ways, 1000, stages_are_quicker);
  EXPECT_GE(tried, 3);
  EXPECT_LE(tried, 1000 / 50);  // each costs twice what the others do
  const auto reading_is_quicker = [](bool read, int) { return read ? 1e-3 : 3e-3; };
  EXPECT_GE(reads_among(ways, 1000, reading_is_quicker), 900);
  // Soon back, when stages are the quicker again.
  EXPECT_LE(reads_among(ways, 1000, stages_are_quicker), 100);
}

TEST(TwoWays, AreNotMisledByTheFirstCallNorByOneThatWasInterrupted) {
  TwoWays ways;
  const int reads = reads_among(ways, 500, [](bool read, int call) {
    if (call == 0) return 1.0;
    return (read ? 1.2e-3 : 1e-3) * (call % 97 == 0 ? 50 : 1);
  });
  EXPECT_LE(reads, 500 / 4);
}

TEST(TwoWays, AreToldApartWhereCallsAlternate) {
  TwoWays ways;
  // Every other read is quicker than what goes through stages, but not two together.
  const int reads =
      reads_among(ways, 500, [](bool read, int call) { return !read ? 2e-3 : call % 2 == 0 ? 1e-3 : 5e-3; });
  EXPECT_LE(reads, 500 / 4);
}

// All long collectives on private buffers, so often that each goes both ways.
TEST(PeerMemory, IsTriedInLongCallsAndGivesTheSame) {
  const Communicator comm = world().duplicate("tried");
  const int ranks = comm.size();
  const Rank me = comm.rank();
  const Index each = (Index{1} << 17) / ranks + 3;
  const Index count = each * ranks;
  const auto value = [&](Rank rank, Index index, int call) {
    return static_cast<std::int32_t>(rank * 7919 + index * 31 + call);
  };
  for (int call = 0; call < 12; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    std::vector<std::int32_t> in;
    for (Index i = 0; i < count; ++i) in.push_back(value(me, i, call));
    std::vector<std::int32_t> out(in.size(), -1);
    std::vector<std::int32_t> wanted(in.size(), 0);
    for (Rank rank = 0; rank < ranks; ++rank) {
      for (Index i = 0; i < count; ++i) wanted[static_cast<std::size_t>(i)] += value(rank, i, call);
    }
    all_reduce(comm, in.data(), out.data(), count, DType::i32, ReduceOp::sum);
    ASSERT_EQ(out, wanted);

    const std::vector<Index> counts(static_cast<std::size_t>(ranks), each);
    std::vector<std::int32_t> part(static_cast<std::size_t>(each), -1);
    reduce_scatter(comm, in.data(), part.data(), counts, DType::i32, ReduceOp::sum);
    ASSERT_TRUE(std::equal(part.begin(), part.end(), wanted.begin() + me * each));

    out.assign(out.size(), -1);
    all_gather(comm, in.data(), out.data(), counts, DType::i32);
    for (Index i = 0; i < count; ++i) {
      ASSERT_EQ(out[static_cast<std::size_t>(i)], value(static_cast<Rank>(i / each), i % each, call));
    }
    out.assign(out.size(), -1);
    all_to_all(comm, in.data(), out.data(), each, DType::i32);
    for (Index i = 0; i < count; ++i) {
      ASSERT_EQ(out[static_cast<std::size_t>(i)],
                value(static_cast<Rank>(i / each), me * each + i % each, call));
    }
    const Rank root = call % ranks;
    out = in;
    broadcast(comm, out.data(), count, DType::i32, root);
    for (Index i = 0; i < count; ++i) ASSERT_EQ(out[static_cast<std::size_t>(i)], value(root, i, call));
  }
  if (ranks > 1 && node_control(comm).usable()) {
    EXPECT_TRUE(comm.extension<PeerMemory>().asked()) << "everything went through stages";
  }
}

// The kernel answers this thread's process_vm_readv() with EPERM from now on.
void forbid_reading() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(rules)), rules};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0) << "no seccomp here";
}

// Last: it cannot be taken back.
TEST(PeerMemory, WhichOneRankMayNotReadNobodyReads) {
  const Communicator comm = world().duplicate("forbidden");
  if (comm.rank() == comm.size() - 1) forbid_reading();
  for (const Index count : {Index{1} << 18, (Index{1} << 18) + 11}) {
    sum_and_compare(comm, DType::f32, ReduceOp::sum, count, Memory::local, true, 0, true);
  }
  if (comm.size() > 1 && node_control(comm).usable()) {
    EXPECT_FALSE(comm.extension<PeerMemory>().readable(node_control(comm)));
    EXPECT_TRUE(comm.extension<PeerMemory>().refused());
  }
  // Nobody asks again, however often.
  for (int call = 0; call < 6; ++call) {
    sum_and_compare(comm, DType::f32, ReduceOp::sum, Index{1} << 16, Memory::local, true, 0, false);
  }
}

}  // namespace
}  // namespace shoal::testing
