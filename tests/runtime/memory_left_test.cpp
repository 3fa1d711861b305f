// Law: what is left is the least of what the machine and each control group has left.
#include <shoal/runtime/memory_left.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace shoal {
namespace {

namespace fs = std::filesystem;

class MemoryLeftTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "shoal_memory_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    write("proc/meminfo", "MemTotal: 4096 kB\nMemAvailable:    2048 kB\nSwapTotal: 0 kB\n");
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const fs::path& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }
  MemoryLeft left() { return memory_left(root_ / "proc", root_ / "groups"); }

  fs::path root_;
};

TEST_F(MemoryLeftTest, IsTheMachinesWithoutGroups) {
  EXPECT_EQ(left().bytes, Bytes{2} << 20);
  EXPECT_EQ(left().limit, "the machine's memory");
  fs::remove_all(root_ / "proc");
  EXPECT_EQ(left().bytes, ~Bytes{0}) << "a system that says nothing sets no limit";
}

TEST_F(MemoryLeftTest, IsThatOfTheTightestGroup) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("groups/a/b/memory.max", "max\n");
  EXPECT_EQ(left().bytes, Bytes{2} << 20);
  write("groups/a/memory.max", "1000000\n");
  write("groups/a/memory.current", "400000\n");
  write("groups/a/memory.stat", "anon 300000\ninactive_file 50000\nactive_file 50000\n");
  EXPECT_EQ(left().bytes, 650000u);
  EXPECT_EQ(left().limit, "the control group " + (root_ / "groups/a").string());
  write("groups/a/b/memory.max", "100\n");
  write("groups/a/b/memory.current", "200\n");
  EXPECT_EQ(left().bytes, 0u) << "a group over its limit has nothing left";
}

TEST_F(MemoryLeftTest, KnowsTheFirstVersionOfGroups) {
  write("proc/self/cgroup", "5:cpu,memory:/job\n0::/\n");
  write("groups/memory/job/memory.limit_in_bytes", "5000\n");
  write("groups/memory/job/memory.usage_in_bytes", "3000\n");
  write("groups/memory/job/memory.stat", "total_inactive_file 1000\n");
  EXPECT_EQ(left().bytes, 3000u);
}

}  // namespace
}  // namespace shoal
