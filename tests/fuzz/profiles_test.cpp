// Damaged profiles of the planner.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <shoal/planning/estimate.hpp>
#include <shoal/planning/kernels.hpp>

#include "fuzz.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;
using testing::Fuzz;
using testing::Mutator;
using Json = nlohmann::ordered_json;

// Profiles of the planner: what is taken can be priced, and every second of it is a number.
std::vector<std::string> profiles_of(const std::string& kind) {
  std::vector<std::string> texts;
  for (const std::string& folder : planning::profile_folders()) {
    const fs::path path = fs::path(folder) / kind;
    if (!fs::is_directory(path)) continue;
    for (const auto& entry : fs::directory_iterator(path)) texts.push_back(testing::read(entry.path()));
  }
  EXPECT_GT(texts.size(), 1U) << "no profiles of " << kind;
  return texts;
}

// What the file says is damaged more often than how it says it: JSON that is none goes no further.
std::string damage_json(Mutator& mutator, const std::string& input, const std::string& other) {
  if (mutator.below(4) == 0) return mutator.damaged(input, other);
  return mutator.damaged(Json::parse(input), Json::parse(other)).dump(1);
}

TEST_F(Fuzz, ModelProfiles) {
  const planning::Cluster cluster = planning::find_cluster("a100-ib");
  const planning::Software software = planning::find_software("megatron-core");
  run(
      profiles_of("models"),
      [&](const std::string& input) {
        const planning::Model model = planning::parse_model(input, "fuzz");
        EXPECT_GT(model.parameters(), 0);
        EXPECT_GE(model.parameters(), 0.999 * model.active_parameters());
        planning::Workload workload;
        workload.sequence = std::min<Index>(model.context, 512);
        planning::check(workload, model);
        const planning::Estimate made =
            planning::estimate(model, software, planning::Prices(cluster), workload, {}, true);
        EXPECT_TRUE(std::isfinite(made.seconds) && made.seconds >= 0);
      },
      damage_json);
}

// A cluster with tables, as shoal tune writes it, and those that come with the planner.
TEST_F(Fuzz, ClusterProfiles) {
  const planning::Model model = planning::find_model("gpt2");
  std::vector<std::string> inputs = profiles_of("clusters");
  planning::Cluster measured = planning::find_cluster("rpi4");
  const auto table = [](std::size_t axes) {
    planning::Table made;
    made.axes.assign(axes, {16, 1024});
    made.values.assign(std::size_t{1} << axes, 1e-9);
    return made;
  };
  for (const planning::Form form : planning::all_forms) {
    measured.device.measured[planning::product_table("fp32", form)] = table(3);
  }
  for (const bool backward : {false, true}) {
    measured.device.measured[planning::attention_table("fp32", backward)] = table(2);
  }
  for (const planning::StreamKernel& kernel : planning::stream_kernels) {
    measured.device.measured[std::string(kernel.name)] = table(kernel.by_rows ? 2 : 1);
  }
  measured.levels.back().measured["message"] = table(1);
  measured.levels.back().measured["all_reduce"] = table(2);
  measured.levels.back().burst_bytes = planning::Figure{1e5, 'A', "a test"};
  for (int i = 0; i < 20; ++i) inputs.push_back(planning::profile_text(measured));
  const planning::Software software = planning::find_software("shoal");
  run(
      inputs,
      [&](const std::string& input) {
        const planning::Cluster cluster = planning::parse_cluster(input, "fuzz");
        EXPECT_GE(cluster.devices(), 1);
        const std::string text = planning::profile_text(cluster);
        EXPECT_EQ(planning::profile_text(planning::parse_cluster(text, "fuzz")), text);
        const planning::Prices prices(cluster);
        for (const Operation operation : all_operations) {
          if (operation == Operation::barrier) continue;
          const double seconds = prices.collective(operation, 1e6, {std::min(cluster.devices(), 64), 1});
          EXPECT_TRUE(std::isfinite(seconds) && seconds >= 0) << seconds;
        }
        planning::Workload workload;
        workload.batch = 4;
        workload.sequence = 64;
        workload.type = "fp32";
        planning::Layout layout;
        layout.dp = cluster.devices() % 2 == 0 ? 2 : 1;
        const planning::Estimate made =
            planning::estimate(model, software, prices, workload, layout, true);
        EXPECT_TRUE(std::isfinite(made.seconds) && made.seconds >= 0) << made.seconds;
      },
      damage_json);
}

TEST_F(Fuzz, DeviceAndSoftwareProfiles) {
  run(
      profiles_of("devices"),
      [](const std::string& input) {
        const planning::Device device = planning::parse_device(input, "fuzz");
        EXPECT_GT(device.rate("fp4"), 0);
        EXPECT_GT(
            planning::product_seconds(device, device.product_rate("fp4"), 100, 100, 100, 1, 1e5),
            0);
      },
      damage_json);
  run(
      profiles_of("software"),
      [](const std::string& input) {
        const planning::Software software = planning::parse_software(input, "fuzz");
        EXPECT_FALSE(software.name.empty());
      },
      damage_json);
}

}  // namespace
}  // namespace shoal
