// Law: a mesh is a grid over all ranks; tp neighbours are neighbours; a shape that does not fit is
// refused in words.
#include <shoal/runtime/mesh.hpp>

#include <gtest/gtest.h>

#include <shoal/runtime/error.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

TEST(MeshShape, ParsesAndPrints) {
  const MeshShape shape = MeshShape::parse("dp=2, tp=4");
  EXPECT_EQ(shape.size(), 8);
  EXPECT_EQ(shape.size_of("dp"), 2);
  EXPECT_EQ(shape.size_of("tp"), 4);
  EXPECT_EQ(shape.size_of("pp"), 1);
  EXPECT_EQ(shape.text(), "dp=2,tp=4");
  EXPECT_EQ(MeshShape::parse("dp=2,pp=4,tp=2").size_of("pp"), 4);
}

TEST(MeshShape, RefusesNonsense) {
  for (const char* text : {"", "dp", "dp=", "dp=x", "dp=0", "dp=-1", "dp=2,dp=2", "qq=2", "dp=2,",
                           "dp=99999999999999", "dp=2;tp=2"}) {
    EXPECT_THROW(MeshShape::parse(text), UsageError) << text;
  }
}

TEST(Mesh, EveryFactorisationCoversTheWorld) {
  const int size = world().size();
  for (int tp = 1; tp <= size; ++tp) {
    if (size % tp != 0) continue;
    const Mesh mesh(world(), {{{"dp", size / tp}, {"tp", tp}}});
    EXPECT_EQ(mesh.axis("dp").size(), size / tp);
    EXPECT_EQ(mesh.axis("tp").size(), tp);
    EXPECT_EQ(mesh.axis("pp").size(), 1);
    EXPECT_EQ(mesh.coordinate("dp") * tp + mesh.coordinate("tp"), mesh.all().rank());
    const Communicator& group = mesh.axis("tp");
    for (Rank rank = 1; rank < group.size(); ++rank) {
      EXPECT_EQ(group.world_rank_of(rank), group.world_rank_of(rank - 1) + 1);
    }
  }
}

TEST(Mesh, TpIsInnermostHoweverItIsWritten) {
  const Mesh mesh(world(), {{{"tp", world().size()}, {"dp", 1}}});
  EXPECT_EQ(mesh.shape().axes.back().name, "tp");
}

TEST(Mesh, StagesAreOutermostHoweverTheyAreWritten) {
  for (int pp = 1; pp <= world().size(); ++pp) {
    if (world().size() % pp != 0) continue;
    const int dp = world().size() / pp;
    const Mesh mesh(world(), {{{"dp", dp}, {"tp", 1}, {"pp", pp}}});
    EXPECT_EQ(mesh.shape().axes.front().name, "pp");
    EXPECT_EQ(mesh.coordinate("pp") * dp + mesh.coordinate("dp"), mesh.all().rank());
    EXPECT_EQ(mesh.axis("pp").size(), pp);
  }
}

TEST(Mesh, RefusesAShapeThatDoesNotMultiplyToTheRanks) {
  try {
    const Mesh mesh(world(), {{{"dp", 2}, {"tp", world().size()}}});
    FAIL() << "a mesh of twice the ranks was made";
  } catch (const UsageError& error) {
    EXPECT_NE(error.message().find(std::to_string(2 * world().size())), std::string::npos);
  }
}

}  // namespace
}  // namespace shoal::testing
