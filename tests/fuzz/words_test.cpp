// Damaged words and files of the launcher: hosts, hostfiles, what Slurm says, hosts of a lab.
#include <cmath>
#include <string>
#include <vector>

#include "fuzz.hpp"
#include "lab/spec.hpp"
#include "run/hosts.hpp"
#include "run/slurm.hpp"

namespace shoal {
namespace {

using testing::Fuzz;

void expect_sound(const std::vector<launch::Host>& hosts) {
  ASSERT_FALSE(hosts.empty());
  for (const launch::Host& host : hosts) {
    EXPECT_FALSE(host.name.empty());
    EXPECT_EQ(host.name.find_first_of(" \t\n,"), std::string::npos) << host.name;
    EXPECT_GE(host.slots, 0) << host.name;
  }
}

// What is taken can be written down and read again.
TEST_F(Fuzz, HostLists) {
  run({"node1,node2:4", "a:1,a:2,b", "10.0.0.1:16,n-3.example.org"}, [](const std::string& input) {
    const std::vector<launch::Host> hosts = launch::parse_host_list(input);
    expect_sound(hosts);
    std::string text;
    for (const launch::Host& host : hosts) {
      text += (text.empty() ? "" : ",") + host.name;
      if (host.slots > 0) text += ":" + std::to_string(host.slots);
    }
    EXPECT_EQ(launch::parse_host_list(text), hosts) << text;
  });
}

TEST_F(Fuzz, Hostfiles) {
  run({"# a cluster\nnode1 slots=4 max_slots=8\nnode2:2\n", "node1\nnode1\n\nnode3 slots=1\n"},
      [](const std::string& input) {
        const std::vector<launch::Host> hosts = launch::parse_hostfile(input, "fuzz");
        for (const launch::Host& host : hosts) {
          EXPECT_FALSE(host.name.empty());
          EXPECT_GE(host.slots, 0) << host.name;
        }
      });
}

TEST_F(Fuzz, SlurmWords) {
  run({"2(x3),4", "16(x1024)", "1,1,1"}, [](const std::string& input) {
    for (const int count : launch::parse_slurm_counts(input)) EXPECT_GE(count, 1);
  });
  run({"n1 allocated\nn2 down*\n", "n1 idle\nn3 drained\nn4 unknown*\n"},
      [](const std::string& input) {
        for (const std::string& node : launch::parse_gone_nodes(input)) EXPECT_FALSE(node.empty());
      });
}

TEST_F(Fuzz, LabWords) {
  namespace lab = launch::lab;
  run({"3:cpu=0.1,link=100mbit,memory=1G,latency=1ms", "0:link=none", "1:cpu=2,latency=50us",
       "h2:memory=64KiB,link=2.5gbit"},
      [](const std::string& input) {
        std::vector<lab::HostSpec> hosts(4);
        lab::apply_override(input, hosts);
        ASSERT_EQ(hosts.size(), 4U);
        for (const lab::HostSpec& host : hosts) {
          EXPECT_TRUE(!host.cpu || (std::isfinite(*host.cpu) && *host.cpu > 0));
          EXPECT_TRUE(!host.link || *host.link > 0);
          EXPECT_TRUE(!host.memory || *host.memory > 0);
          EXPECT_TRUE(std::isfinite(host.latency.count()) && host.latency.count() >= 0);
        }
      });
  run({"plan", "lab-2", "a_b"}, [](const std::string& input) {
    const std::string name = lab::parse_name(input);
    EXPECT_FALSE(name.empty());
    EXPECT_EQ(name.find('/'), std::string::npos) << name;
  });
}

}  // namespace
}  // namespace shoal
