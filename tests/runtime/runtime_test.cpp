// Law: one Runtime a process, on top of MPI or with MPI of its own; its world is what MPI says.
#include <shoal/runtime/runtime.hpp>

#include <gtest/gtest.h>
#include <mpi.h>

#include <set>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

TEST(Runtime, WorldIsMpis) {
  int rank = -1;
  int size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(world().rank(), rank);
  EXPECT_EQ(world().size(), size);
  EXPECT_EQ(world().world_rank_of(rank), rank);
}

TEST(Runtime, ASecondOneIsRefused) { EXPECT_THROW(Runtime{}, Error); }

TEST(Runtime, NamesItsMpi) {
  EXPECT_NE(Runtime::mpi_version().find("MPI"), std::string::npos);
  EXPECT_EQ(Runtime::mpi_version().find('\n'), std::string::npos);
}

TEST(Communicator, SplitsByColourInKeyOrder) {
  const int colour = world().rank() % 2;
  const Communicator half = world().split(colour, -world().rank(), "half");
  EXPECT_EQ(half.name(), "half");
  EXPECT_EQ(half.size(), (world().size() + 1 - colour) / 2);
  for (Rank rank = 0; rank < half.size(); ++rank) {
    EXPECT_EQ(half.world_rank_of(rank) % 2, colour);
    if (rank > 0) {
      EXPECT_LT(half.world_rank_of(rank), half.world_rank_of(rank - 1));
    }
  }
  EXPECT_TRUE(half.on_one_node());
  EXPECT_EQ(half.host_of(half.rank()), world().host_of(world().rank()));
}

TEST(Communicator, KeepsOneExtensionOfEachType) {
  struct Counter {
    explicit Counter(const Communicator& of) : size(of.size()) {}
    int size;
    int calls = 0;
  };
  const Communicator copy = world().duplicate("copy");
  copy.extension<Counter>().calls = 3;
  EXPECT_EQ(copy.extension<Counter>().calls, 3);
  EXPECT_EQ(copy.extension<Counter>().size, world().size());
}

TEST(Communicator, AdoptsAForeignOne) {
  MPI_Comm reversed = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, 0, -world().rank(), &reversed);
  {
    const Communicator adopted = adopt_communicator(reversed, "reversed");
    EXPECT_EQ(adopted.rank(), world().size() - 1 - world().rank());
    EXPECT_EQ(adopted.world_rank_of(adopted.rank()), world().rank());
  }
  // The caller's handle is still the caller's.
  int size = 0;
  EXPECT_EQ(MPI_Comm_size(reversed, &size), MPI_SUCCESS);
  MPI_Comm_free(&reversed);
}

TEST(MpiTools, NameComponentsAndLeaveTheThreadLevelAsItWas) {
  int before = -1, after = -1;
  MPI_Query_thread(&before);
  const std::set<std::string> ways = mpi_components("btl");
  MPI_Query_thread(&after);
  EXPECT_EQ(after, before);
  EXPECT_EQ(ways.count("base"), 0u);
#ifdef OPEN_MPI
  EXPECT_FALSE(mpi_components("pml").empty());
#endif
  EXPECT_TRUE(mpi_components("nosuch").empty());
}

TEST(Communicator, BorrowsAForeignOneAndLeavesItAsItWas) {
  MPI_Comm reversed = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, 0, -world().rank(), &reversed);
  MPI_Comm_set_name(reversed, "the caller's");
  MPI_Comm_set_errhandler(reversed, MPI_ERRORS_ARE_FATAL);
  {
    const Communicator borrowed = borrow_communicator(reversed, "reversed");
    EXPECT_EQ(mpi_handle(borrowed), reversed);
    EXPECT_EQ(borrowed.rank(), world().size() - 1 - world().rank());
    EXPECT_EQ(borrowed.world_rank_of(borrowed.rank()), world().rank());
  }
  char name[MPI_MAX_OBJECT_NAME];
  int length = 0;
  MPI_Comm_get_name(reversed, name, &length);
  EXPECT_STREQ(name, "the caller's");
  MPI_Errhandler handler = MPI_ERRHANDLER_NULL;
  MPI_Comm_get_errhandler(reversed, &handler);
  EXPECT_EQ(handler, MPI_ERRORS_ARE_FATAL);
  MPI_Errhandler_free(&handler);
  MPI_Comm_free(&reversed);
}

}  // namespace
}  // namespace shoal::testing
