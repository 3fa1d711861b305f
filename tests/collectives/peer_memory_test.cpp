// Law: ranks whose threads wait beside computation sum what lies in the others' private memory as they would
// through stages; where one of them may not read it all take stages.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/wait.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"
#include "node/node_collectives.hpp"
#include "node/peer_memory.hpp"

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
  }
}

}  // namespace
}  // namespace shoal::testing
