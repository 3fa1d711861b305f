// Law: only what the host has no device of is left out of Open MPI's search, and nothing that
// somebody has set becomes another thing.
#include "../../runtime/absent_networks.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace shoal {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

TEST(AbsentNetworks, AreThoseWithoutADevice) {
  std::string dev = (fs::temp_directory_path() / "shoal_dev_XXXXXX").string();
  ASSERT_NE(mkdtemp(dev.data()), nullptr);
  const auto device = [&](const char* name) { std::ofstream(fs::path(dev) / name).put('\n'); };
  device("null");
  device("hfi2");  // no device of Omni-Path has this name
  EXPECT_EQ(absent_networks(dev), (Names{"psm", "psm2"}));
  device("hfi1_12");
  EXPECT_EQ(absent_networks(dev), (Names{"psm"}));
  device("ipath0");
  EXPECT_EQ(absent_networks(dev), Names{});
  fs::remove_all(dev);
  EXPECT_EQ(absent_networks(dev), Names{}) << "what cannot be looked at is not known to be absent";
}

TEST(AbsentNetworks, AreAddedToWhatIsLeftOutAlready) {
  const Names both{"psm", "psm2"};
  EXPECT_EQ(mtl_without(both, std::nullopt), "^psm,psm2");
  EXPECT_EQ(mtl_without(both, ""), "^psm,psm2");
  EXPECT_EQ(mtl_without(both, " ^ofi "), "^ofi,psm,psm2");
  EXPECT_EQ(mtl_without(both, "^psm2"), "^psm2,psm");
  EXPECT_EQ(mtl_without({"psm"}, "^ofi, psm2"), "^ofi, psm2,psm") << "psm2 is another than psm";
  EXPECT_EQ(mtl_without(both, "^psm2,psm"), std::nullopt) << "nothing to add";
  EXPECT_EQ(mtl_without({}, std::nullopt), std::nullopt);
  EXPECT_EQ(mtl_without(both, "psm2"), std::nullopt) << "somebody wants it";
}

TEST(AbsentNetworks, ReadOpenMpisFiles) {
  const std::string file =
      "# mtl = a\nbtl=^openib\n  mtl =  ^ofi  # why\nmtl_base_verbose = 3\r\nno line\nmtl_x = b";
  EXPECT_EQ(mca_value(file, "mtl"), "^ofi");
  EXPECT_EQ(mca_value(file, "btl"), "^openib");
  EXPECT_EQ(mca_value(file, "mtl_base_verbose"), "3");
  EXPECT_EQ(mca_value(file, "pml"), std::nullopt);
  EXPECT_EQ(mca_value("mtl=a\nmtl=b\n", "mtl"), "b");
  EXPECT_EQ(mca_value("", "mtl"), std::nullopt);
}

TEST(AbsentNetworks, LeaveTheEnvironmentAsItWas) {
  const auto now = [] {
    const char* value = std::getenv("OMPI_MCA_mtl");
    return value == nullptr ? std::optional<std::string>() : std::string(value);
  };
  unsetenv("OMPI_MCA_mtl");
  { const AbsentNetworksLeftOut quick; }
  EXPECT_EQ(now(), std::nullopt);
  setenv("OMPI_MCA_mtl", "^ofi", 1);
  {
    const AbsentNetworksLeftOut quick;
    EXPECT_EQ(now(), "^ofi") << "what the user has set stays";
  }
  EXPECT_EQ(now(), "^ofi");
  unsetenv("OMPI_MCA_mtl");
}

}  // namespace
}  // namespace shoal
