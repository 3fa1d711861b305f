// The control groups of a lab, in version 2 of the kernel's interface: here a tree of plain files, for
// a machine has one version only. The other one is what lab_test.sh runs on, or the other way round.
#include <lab/cgroup.hpp>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>
#include <shoal/runtime/error.hpp>

namespace shoal::launch::lab {
namespace {

namespace fs = std::filesystem;

class LabGroups : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "shoal-groups.XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directory(root());
    write(folder_ / "mounts", "proc /proc proc rw 0 0\ncgroup2 " + root().string() +
                                  " cgroup2 rw,nosuid,nodev 0 0\ntmpfs /tmp tmpfs rw 0 0\n");
    offer("cpuset cpu io memory pids");
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path root() const { return folder_ / "tree"; }
  std::string mounts() const { return (folder_ / "mounts").string(); }
  void offer(const std::string& controllers) {
    write(root() / "cgroup.controllers", controllers + "\n");
  }
  static void write(const fs::path& file, const std::string& text) {
    std::ofstream(file, std::ios::trunc) << text;
  }
  static std::string text_of(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  fs::path folder_;
};

TEST_F(LabGroups, AreMadeWithTheirLimits) {
  HostSpec spec;
  spec.cpu = 0.25;
  spec.memory = Bytes{512} << 20;
  const Cgroups groups(mounts());
  groups.make("a", "h0", spec);
  EXPECT_EQ(text_of(root() / "cgroup.subtree_control"), "+memory");  // the last of two orders
  groups.make("a", "h1", HostSpec{});
  const fs::path limited = root() / "shoal-lab.a.h0";
  EXPECT_EQ(text_of(limited / "cpu.weight"), "100");
  EXPECT_EQ(text_of(limited / "cpu.max"), "5000 20000");  // microseconds of each period
  EXPECT_EQ(text_of(limited / "memory.max"), "536870912");
  EXPECT_FALSE(fs::exists(root() / "shoal-lab.a.h1" / "cpu.max"));
  EXPECT_FALSE(fs::exists(root() / "shoal-lab.a.h1" / "memory.max"));
  EXPECT_THROW(groups.make("a", "h0", spec), Error) << "there already";
}

TEST_F(LabGroups, KnowWhoIsInThem) {
  const Cgroups groups(mounts());
  groups.make("a", "h0", HostSpec{});
  groups.make("ab", "h7", HostSpec{});  // another lab, whose name begins alike
  EXPECT_EQ(groups.hosts("a"), (std::vector<std::string>{"h0"}));
  EXPECT_TRUE(groups.hosts("b").empty());
  groups.enter("a", "h0", 123);
  EXPECT_EQ(text_of(root() / "shoal-lab.a.h0" / "cgroup.procs"), "123");
  write(root() / "shoal-lab.a.h0" / "cgroup.procs", "12\n345\n");
  EXPECT_EQ(groups.processes("a", "h0"), (std::vector<pid_t>{12, 345}));
  EXPECT_THROW(groups.enter("a", "h3", 123), Error);
}

TEST_F(LabGroups, AreRemoved) {
  const Cgroups groups(mounts());
  for (const char* lab : {"a", "b"}) groups.make(lab, "h0", HostSpec{});
  // The kernel's files go with their folder; those of this tree must go first.
  fs::remove(root() / "shoal-lab.a.h0" / "cpu.weight");
  fs::create_directory(root() / "shoal-lab.a.h0" / "made-inside");
  EXPECT_TRUE(groups.remove("a"));
  EXPECT_FALSE(groups.remove("a"));
  EXPECT_FALSE(fs::exists(root() / "shoal-lab.a.h0"));
  EXPECT_TRUE(fs::exists(root() / "shoal-lab.b.h0"));
}

TEST_F(LabGroups, AreRefusedWhereAControllerIsMissing) {
  offer("cpu pids");
  HostSpec spec;
  Cgroups(mounts()).make("a", "h0", spec);
  spec.memory = Bytes{1} << 30;
  EXPECT_THROW(Cgroups(mounts()).make("a", "h1", spec), Error);
  offer("memory cpuset");
  EXPECT_THROW(Cgroups{mounts()}, Error);
  write(folder_ / "mounts", "proc /proc proc rw 0 0\n");
  EXPECT_THROW(Cgroups{mounts()}, Error);
}

// Both versions may be mounted: then that counts which has the processors.
TEST_F(LabGroups, OfTheFirstVersionComeFirst) {
  fs::create_directory(folder_ / "cpu");
  std::ofstream(folder_ / "mounts", std::ios::app)
      << "cgroup " << (folder_ / "cpu").string() << " cgroup rw,cpu,cpuacct 0 0\n";
  HostSpec spec;
  spec.cpu = 2;
  Cgroups(mounts()).make("a", "h0", spec);
  const fs::path group = folder_ / "cpu" / "shoal-lab.a.h0";
  EXPECT_EQ(text_of(group / "cpu.shares"), "1024");
  EXPECT_EQ(text_of(group / "cpu.cfs_period_us"), "20000");
  EXPECT_EQ(text_of(group / "cpu.cfs_quota_us"), "40000");
  EXPECT_FALSE(fs::exists(root() / "shoal-lab.a.h0"));
}

}  // namespace
}  // namespace shoal::launch::lab
