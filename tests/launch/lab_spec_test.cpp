// What the words of `shoal lab` mean, and which are refused.
#include <lab/compare.hpp>
#include <lab/run.hpp>
#include <lab/spec.hpp>

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>

namespace shoal::launch::lab {
namespace {

void expect_refused(const std::function<void(const std::string&)>& parse,
                    const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    EXPECT_THROW(parse(text), UsageError) << '"' << text << '"';
  }
}

TEST(LabSpec, LinksAreBitsASecond) {
  EXPECT_EQ(parse_link("1gbit"), 1000000000u);
  EXPECT_EQ(parse_link("2.5gbit"), 2500000000u);
  EXPECT_EQ(parse_link("100mbit"), 100000000u);
  EXPECT_EQ(parse_link("500kbit"), 500000u);
  EXPECT_EQ(parse_link("1000000bit"), 1000000u);
  EXPECT_FALSE(parse_link("none").has_value());
  expect_refused(
      [](const std::string& text) { parse_link(text); },
      {"", "gbit", "1", "1 gbit", "1Gbit", "-1gbit", "1e9bit", "1gbits", "1.2.3gbit", "0gbit",
       "1kbit", "500gbit", "nan", "inf", ".", ".gbit", "99999999999999999999999gbit"});
}

TEST(LabSpec, MemoryIsPowersOf1024) {
  EXPECT_EQ(parse_memory("2G"), Bytes{2} << 30);
  EXPECT_EQ(parse_memory("512M"), Bytes{512} << 20);
  EXPECT_EQ(parse_memory("1.5GiB"), Bytes{3} << 29);
  EXPECT_EQ(parse_memory("20000000"), 20000000u);
  expect_refused([](const std::string& text) { parse_memory(text); },
                 {"", "G", "2g", "2GB", "-2G", "0", "1M", "1e9", "9999999999G"});
}

TEST(LabSpec, LatencyIsSeconds) {
  EXPECT_DOUBLE_EQ(parse_latency("50us").count(), 50e-6);
  EXPECT_DOUBLE_EQ(parse_latency("1.5ms").count(), 1.5e-3);
  EXPECT_DOUBLE_EQ(parse_latency("0.1s").count(), 0.1);
  expect_refused([](const std::string& text) { parse_latency(text); },
                 {"", "50", "us", "-1us", "11s", "1m"});
}

TEST(LabSpec, CpuIsCores) {
  EXPECT_DOUBLE_EQ(parse_cpu("0.25"), 0.25);
  EXPECT_DOUBLE_EQ(parse_cpu("2"), 2.0);
  expect_refused([](const std::string& text) { parse_cpu(text); },
                 {"", "0", "0.001", "-1", "25%", "half", "1e2", "5000"});
}

TEST(LabSpec, NamesFitIntoPaths) {
  EXPECT_EQ(parse_name("lab-2"), "lab-2");
  expect_refused([](const std::string& text) { parse_name(text); },
                 {"", "-x", "a.b", "a/b", "..", "A", "a b", "a_b", std::string(21, 'a')});
}

TEST(LabSpec, HostsByNameOrNumber) {
  EXPECT_EQ(parse_host("h3", 4), 3);
  EXPECT_EQ(parse_host("0", 1), 0);
  expect_refused([](const std::string& text) { parse_host(text, 4); },
                 {"", "h", "4", "h4", "-1", "x3", "3x", "99999999999"});
}

TEST(LabSpec, OverridesChangeOneHost) {
  std::vector<HostSpec> hosts(4);
  apply_override("3:cpu=0.1,link=100mbit,memory=1G,latency=1ms", hosts);
  apply_override("h1:link=none", hosts);
  EXPECT_EQ(hosts[3].cpu, 0.1);
  EXPECT_EQ(hosts[3].link, 100000000u);
  EXPECT_EQ(hosts[3].memory, Bytes{1} << 30);
  EXPECT_DOUBLE_EQ(hosts[3].latency.count(), 1e-3);
  for (const int other : {0, 1, 2}) EXPECT_EQ(hosts[static_cast<std::size_t>(other)], HostSpec{});
  expect_refused(
      [&](const std::string& text) { apply_override(text, hosts); },
      {"", "3", "3:", ":cpu=1", "4:cpu=1", "3:cpu", "3:cpu=", "3:speed=1", "3:cpu=1;link=none"});
}

TEST(LabSpec, SharesAreFairAndUseAllCores) {
  std::vector<HostSpec> hosts(8);
  for (const double share : expected_cpu(hosts, 2)) EXPECT_DOUBLE_EQ(share, 0.25);
  hosts[3].cpu = 0.1;
  hosts[5].cpu = 2;  // more than it can get
  const std::vector<double> shares = expected_cpu(hosts, 2);
  EXPECT_DOUBLE_EQ(shares[3], 0.1);
  EXPECT_DOUBLE_EQ(shares[5], shares[0]);
  EXPECT_DOUBLE_EQ(std::accumulate(shares.begin(), shares.end(), 0.0), 2.0);
  hosts.assign(2, HostSpec{});
  hosts[0].cpu = hosts[1].cpu = 0.25;
  for (const double share : expected_cpu(hosts, 2)) EXPECT_DOUBLE_EQ(share, 0.25);
}

// Every mesh of dp, tp and pp with tp up to 4, each once, and each of as many ranks as there are hosts.
TEST(LabSpec, CandidatesAreMeshesOfAllHosts) {
  EXPECT_EQ(candidates(1), (std::vector<std::string>{"dp=1,tp=1"}));
  EXPECT_EQ(candidates(3), (std::vector<std::string>{"dp=3,tp=1", "pp=3,dp=1,tp=1"}));
  for (const int hosts : {2, 4, 6, 8, 12}) {
    std::vector<std::string> meshes = candidates(hosts);
    for (const std::string& mesh : meshes) {
      EXPECT_EQ(MeshShape::parse(mesh).size(), hosts) << mesh;
    }
    std::sort(meshes.begin(), meshes.end());
    EXPECT_EQ(std::unique(meshes.begin(), meshes.end()), meshes.end());
  }
  EXPECT_EQ(candidates(8).size(), 9u);
}

TEST(LabSpec, RanksFillHosts) {
  const auto counts = [](int hosts, std::optional<int> ranks, std::optional<int> per_host) {
    const RankCounts got = count_ranks(hosts, ranks, per_host);
    return std::pair(got.ranks, got.per_host);
  };
  EXPECT_EQ(counts(8, {}, {}), std::pair(8, 1));
  EXPECT_EQ(counts(8, {}, 2), std::pair(16, 2));
  EXPECT_EQ(counts(8, 3, {}), std::pair(3, 1));
  EXPECT_EQ(counts(8, 9, {}), std::pair(9, 2));
  EXPECT_EQ(counts(8, 9, 4), std::pair(9, 4));
  for (const int wrong : {0, -1, 1000000}) {
    EXPECT_THROW(count_ranks(8, wrong, {}), UsageError);
    EXPECT_THROW(count_ranks(8, {}, wrong), UsageError);
  }
  EXPECT_THROW(count_ranks(8, 9, 1), UsageError);
}

}  // namespace
}  // namespace shoal::launch::lab
