// Profiles: what is installed is whole, and what is wrong is refused.
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <shoal/planning/profile.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {
namespace {

using Json = nlohmann::ordered_json;

std::string file_text(const std::string& path) {
  std::ifstream file(profile_folders().front() + "/" + path);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file) << path;
  return text.str();
}

TEST(Profiles, AllThatAreThereAreWhole) {
  for (const std::string& name : profile_names("devices")) EXPECT_EQ(find_device(name).name, name);
  for (const std::string& name : profile_names("models")) EXPECT_EQ(find_model(name).name, name);
  for (const std::string& name : profile_names("software")) {
    EXPECT_EQ(find_software(name).name, name);
  }
  for (const std::string& name : profile_names("clusters")) {
    const Cluster cluster = find_cluster(name);
    EXPECT_EQ(cluster.name, name);
    EXPECT_NO_THROW(find_software(cluster.software)) << name;
  }
  EXPECT_GE(profile_names("models").size(), 20u);
  EXPECT_GE(profile_names("clusters").size(), 10u);
}

// The formulae for parameters give what the authors count: rounded figures to their last digit.
TEST(Profiles, ParametersAreTheCountedOnes) {
  for (const std::string& name : profile_names("models")) {
    const Model model = find_model(name);
    const double rounding = name.starts_with("megatron") ? 0.03 : 0.001;
    EXPECT_NEAR(model.parameters() / model.published_parameters, 1, rounding) << name;
  }
  // 37 billion active, the embedding counted.
  EXPECT_NEAR(find_model("deepseek-r1").active_parameters(), 37e9, 1e9);
}

// Huawei's and Nvidia's clusters, from the figures of their chips.
TEST(Profiles, CloudMatrixAgainstNvl72) {
  const Cluster huawei = find_cluster("cloudmatrix-384");
  const Cluster nvidia = find_cluster("gb200-nvl72");
  const auto ratio = [&](const auto& of) { return of(huawei) / of(nvidia); };
  const auto total = [](double each, const Cluster& c) { return each * c.devices(); };
  EXPECT_NEAR(ratio([&](const Cluster& c) { return total(c.device.rate("bf16"), c); }), 1.67, 0.08);
  EXPECT_NEAR(ratio([&](const Cluster& c) { return total(c.device.memory_bytes, c); }), 3.6, 0.1);
  EXPECT_NEAR(ratio([&](const Cluster& c) { return total(c.device.memory_bandwidth, c); }), 2.1,
              0.05);
}

TEST(Profiles, RefusesWhatIsWrong) {
  const std::string good = file_text("devices/a100-80gb.json");
  ASSERT_NO_THROW(parse_device(good, "test"));
  const auto refuses = [&](const auto& change) {
    Json json = Json::parse(good);
    change(json);
    EXPECT_THROW(parse_device(json.dump(), "test"), UsageError) << json.dump();
  };
  refuses([](Json& j) { j.erase("memory_bytes"); });
  refuses([](Json& j) { j["memory_byte"] = j["memory_bytes"]; });
  refuses([](Json& j) { j["memory_bytes"][0] = "80e9"; });
  refuses([](Json& j) { j["memory_bytes"][0] = -1; });
  refuses([](Json& j) { j["memory_bytes"][1] = "Z"; });
  refuses([](Json& j) { j["memory_bytes"].erase(2); });
  refuses([](Json& j) { j["memory_bytes"][2] = ""; });
  refuses([](Json& j) { j["matrix_efficiency"][0] = 1.01; });
  refuses([](Json& j) { j["kind"] = "cluster"; });
  refuses([](Json& j) { j["flops"] = Json::object(); });
  refuses([](Json& j) { j["flops"]["bf17"] = j["flops"]["bf16"]; });
  refuses([](Json& j) { j["name"] = 7; });
  for (const char* text : {"", "[]", "null", "{", "{\"kind\": \"device\"}", "\xff\xfe"}) {
    EXPECT_THROW(parse_device(text, "test"), UsageError) << text;
  }
  EXPECT_THROW(parse_device(std::string(100000, '['), "test"), UsageError);
  EXPECT_THROW(find_device("no-such-device"), UsageError);
  EXPECT_THROW(find_device("../devices/a100-80gb"), UsageError);
  EXPECT_THROW(find_device("/"), UsageError);
}

TEST(Profiles, RefusesClustersAndModelsThatCannotBe) {
  const auto refuses = [&](const std::string& path, const auto& parse, const auto& change) {
    Json json = Json::parse(file_text(path));
    ASSERT_NO_THROW(parse(json.dump(), "test"));
    change(json);
    EXPECT_THROW(parse(json.dump(), "test"), UsageError) << json.dump();
  };
  const std::string cluster = "clusters/a100-ib.json";
  refuses(cluster, parse_cluster, [](Json& j) { j["levels"] = Json::array(); });
  refuses(cluster, parse_cluster, [](Json& j) { j["levels"][0].erase("devices"); });
  refuses(cluster, parse_cluster, [](Json& j) { j["levels"][1]["devices"] = 16; });
  refuses(cluster, parse_cluster, [](Json& j) { j["levels"][0]["form"] = "magic"; });
  refuses(cluster, parse_cluster, [](Json& j) { j["nodes"] = 0; });
  refuses(cluster, parse_cluster, [](Json& j) { j["nodes"] = 2.5; });
  refuses(cluster, parse_cluster,
          [](Json& j) { j["nodes"] = 1 << 20, j["devices_per_node"] = 64; });
  refuses(cluster, parse_cluster, [](Json& j) { j["device"] = "no-such-device"; });
  const std::string model = "models/deepseek-r1.json";
  refuses(model, parse_model, [](Json& j) { j["active_experts"] = 257; });
  refuses(model, parse_model, [](Json& j) { j["layers"] = -1; });
  refuses(model, parse_model, [](Json& j) { j["dense_layers"] = 62; });
  refuses(model, parse_model, [](Json& j) { j.erase("value_width"); });
  refuses("models/gpt2.json", parse_model, [](Json& j) { j["heads"] = 7; });
  refuses("software/shoal.json", parse_software, [](Json& j) { j["exchange"] = "pigeons"; });
}

// A type that a device lacks is replaced by the next wider one, and never by a narrower.
TEST(Profiles, RatesWiden) {
  const Device ascend = find_device("ascend-910c");
  std::string used;
  EXPECT_EQ(ascend.rate("bf16", &used), 780e12);
  EXPECT_EQ(used, "bf16");
  EXPECT_EQ(ascend.rate("fp8", &used), 1504e12);
  EXPECT_EQ(used, "int8");
  EXPECT_THROW(ascend.rate("fp32"), UsageError);
  EXPECT_EQ(find_device("rpi4").rate("bf16", &used), 23.8e9);
  EXPECT_EQ(used, "fp32");
}

}  // namespace
}  // namespace shoal::planning
