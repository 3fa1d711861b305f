// Plans by measured profiles: tables, their files, and the laws of a step that is priced by them.
#include <cmath>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <shoal/planning/gpt.hpp>
#include <shoal/planning/kernels.hpp>
#include <shoal/planning/simulate.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

namespace shoal::planning {
namespace {

Table constant(std::size_t axes, double seconds) {
  Table table;
  std::size_t points = 1;
  for (std::size_t i = 0; i < axes; ++i) {
    table.axes.push_back({8, 4096});
    points *= 2;
  }
  table.values.assign(points, seconds);
  table.source = "a test";
  return table;
}

Figure figure(double value) { return {value, 'E', "a test"}; }

constexpr double flop = 1e-11, element = 1e-9, flag = 1e-7, byte = 1e-10, latency = 5e-5,
                 message_byte = 1e-8;

// `nodes` of `each` ranks: every product at 100 GFLOP/s, every stream a nanosecond an element.
Cluster machine(int nodes, int each) {
  Cluster cluster;
  cluster.name = "test";
  cluster.nodes = nodes;
  cluster.devices_per_node = each;
  cluster.software = "shoal";
  Device& device = cluster.device;
  device.name = "rank";
  device.peak["fp32"] = figure(1 / flop);
  device.memory_bytes = figure(1e12);
  device.memory_bandwidth = figure(1e10);
  device.matrix_efficiency = device.memory_efficiency = figure(1);
  device.units = device.tile_rows = device.tile_cols = figure(1);
  device.half_depth[""] = figure(0);
  device.launch_seconds = figure(1e-7);
  for (const Form form : all_forms) device.measured[product_table("fp32", form)] = constant(3, flop);
  for (const bool backward : {false, true}) {
    device.measured[attention_table("fp32", backward)] = constant(2, flop);
  }
  for (const StreamKernel& kernel : stream_kernels) {
    device.measured[std::string(kernel.name)] = constant(kernel.by_rows ? 2 : 1, element);
  }
  if (each > 1 || nodes == 1) {
    Level level;
    level.name = "shared memory";
    level.kind = Level::Kind::shared_memory;
    level.devices = nodes > 1 ? each : 0;
    level.latency = figure(flag);
    level.bandwidth = figure(1 / byte);
    level.efficiency = figure(1);
    level.overhead = figure(0);
    level.measured["flag"] = constant(1, flag);
    level.measured["all_reduce"] = constant(2, byte);
    cluster.levels.push_back(level);
  }
  if (nodes > 1) {
    Level level;
    level.name = "network";
    level.latency = figure(latency);
    level.bandwidth = figure(1 / message_byte);
    level.efficiency = figure(1);
    level.overhead = figure(latency / 2);
    level.shared_by = each;
    level.measured["message"] = constant(1, message_byte);
    level.beside_slowdown = figure(1);
    level.beside_cost = figure(0);
    cluster.levels.push_back(level);
  }
  return cluster;
}

models::TrainOptions small_run() {
  models::TrainOptions options;
  options.model = {512, 64, 4, 4, 128};
  options.batch_size = 8;
  options.max_iters = 1;
  return options;
}

double step_seconds(const Cluster& cluster, const models::TrainOptions& options,
                    const MeshShape& mesh) {
  const Estimate made = estimate(model_of(options.model), find_software("shoal"), Prices(cluster),
                                 workload_of(options, mesh), layout_of(options, mesh));
  EXPECT_EQ(made.why_not, "");
  double sum = 0;
  for (const Cause& cause : made.causes) {
    EXPECT_GE(cause.seconds, 0) << cause.name;
    sum += cause.seconds;
  }
  EXPECT_NEAR(sum / made.seconds, 1, 1e-9);
  return made.seconds;
}

MeshShape mesh_of(int dp, int tp) { return {{{"dp", dp}, {"tp", tp}}}; }

// Interpolation in logarithms is exact for c·x^a·y^b·z^d, on the points and between them.
TEST(Table, IsExactForPowers) {
  std::mt19937_64 random = shoal::testing::generator();
  std::uniform_real_distribution<double> exponent(-2, 2), place(0, 1);
  for (int trial = 0; trial < 50; ++trial) {
    const double a[3] = {exponent(random), exponent(random), exponent(random)};
    const auto law = [&](double x, double y, double z) {
      return 1e-9 * std::pow(x, a[0]) * std::pow(y, a[1]) * std::pow(z, a[2]);
    };
    Table table;
    table.axes = {{1, 10, 30}, {2, 5}, {16, 64, 1024, 4096}};
    for (const double x : table.axes[0]) {
      for (const double y : table.axes[1]) {
        for (const double z : table.axes[2]) table.values.push_back(law(x, y, z));
      }
    }
    for (const double x : table.axes[0]) {
      EXPECT_NEAR(table.at({x, 5, 64}) / law(x, 5, 64), 1, 1e-12);
    }
    const double x = 1 + 29 * place(random), y = 2 + 3 * place(random), z = 16 + 4080 * place(random);
    EXPECT_NEAR(table.at({x, y, z}) / law(x, y, z), 1, 1e-10);
    // Outside as at the edge.
    EXPECT_NEAR(table.at({0.1, y, 1e9}) / law(1, y, 4096), 1, 1e-10);
  }
  EXPECT_THROW(constant(2, 1).at({1.0}), Error);
}

TEST(MeasuredProfile, ItsFileSaysAllOfIt) {
  const Cluster cluster = machine(2, 3);
  const std::string text = profile_text(cluster);
  const Cluster read = parse_cluster(text, "test");
  EXPECT_EQ(profile_text(read), text);
  const models::TrainOptions options = small_run();
  EXPECT_EQ(step_seconds(read, options, mesh_of(2, 1)), step_seconds(cluster, options, mesh_of(2, 1)));
}

TEST(MeasuredProfile, RefusesTablesThatAreWrong) {
  const std::string text = profile_text(machine(1, 2));
  const auto with = [&](const std::string& old, const std::string& now) {
    std::string changed = text;
    const auto at = changed.find(old);
    EXPECT_NE(at, std::string::npos) << old;
    return changed.replace(at, old.size(), now);
  };
  const auto refuses = [&](const std::string& changed, const std::string& why) {
    try {
      parse_cluster(changed, "test");
      ADD_FAILURE() << "accepted; it should say: " << why;
    } catch (const UsageError& error) {
      EXPECT_NE(error.message().find(why), std::string::npos) << error.message();
    }
  };
  refuses(with("\"adamw\"", "\"adamx\""), "adamx");
  refuses(with("1e-09", "-1e-09"), "not above 0");
  refuses(with("1e-09", "\"x\""), "something else");
  refuses(with("8.0", "4096.0"), "ascend");
  refuses(with("\"confidence\": \"A\"", "\"confidence\": \"Z\""), "confidence");
  const std::string point = "1e-09,";
  refuses(with(point, ""), "points");
}

// 2 flags a rank, and 2·n bytes: the formula beside the algorithm, at the profile's figures.
TEST(MeasuredProfile, PricesSharedMemoryByFlagsAndBytes) {
  for (const int ranks : {2, 3, 4}) {
    const Prices prices(machine(1, 4));
    const double bytes = 1 << 16;
    EXPECT_NEAR(prices.collective(Operation::all_reduce, bytes, {ranks, 1}) /
                    (2 * ranks * flag + 2 * bytes * byte),
                1, 1e-9);
  }
}

// A rank by itself has no exchanges: twice as slow kernels make twice as long a step; and products
// are priced for what they are, 6 FLOPs a weight and token and the whole of attention.
// What a probe says of kernels changes them alone, each by its own kind.
TEST(MeasuredProfile, GoesWithTheConditionOfItsMachine) {
  const Cluster then = machine(1, 2), now = in_condition(then, 2, 3);
  const double before = product_seconds_of(then.device, "fp32", Form::tn, 64, 48, 32);
  EXPECT_NEAR(product_seconds_of(now.device, "fp32", Form::tn, 64, 48, 32) / before, 2, 1e-12);
  const double core = attention_seconds_of(then.device, "fp32", true, 4, 64, 32);
  EXPECT_NEAR(attention_seconds_of(now.device, "fp32", true, 4, 64, 32) / core, 2, 1e-12);
  for (const StreamKernel& kernel : stream_kernels) {
    const double stream = stream_seconds_of(then.device, kernel.name, 16, 64);
    EXPECT_NEAR(stream_seconds_of(now.device, kernel.name, 16, 64) / stream, 3, 1e-12)
        << kernel.name;
  }
  EXPECT_EQ(Prices(now).collective(Operation::all_reduce, 4096, {2, 1}),
            Prices(then).collective(Operation::all_reduce, 4096, {2, 1}));
}

TEST(MeasuredStep, FollowsTheKernels) {
  const models::TrainOptions options = small_run();
  Cluster slow = machine(1, 1);
  for (auto& [name, table] : slow.device.measured) {
    for (double& value : table.values) value *= 2;
  }
  const double step = step_seconds(machine(1, 1), options, mesh_of(1, 1));
  EXPECT_NEAR(step_seconds(slow, options, mesh_of(1, 1)) / step, 2, 1e-9);

  const Estimate made =
      estimate(model_of(options.model), find_software("shoal"), Prices(machine(1, 1)),
               workload_of(options, mesh_of(1, 1)), layout_of(options, mesh_of(1, 1)));
  const double tokens = 8 * 64;
  const double weights = 4.0 * 12 * 128 * 128 + 512 * 128;
  const double core = 4.0 * 4 * tokens * 64 * 32 * 2;  // layers, heads, tokens², width, two passes
  EXPECT_NEAR(made.causes.front().seconds / (flop * (6 * weights * tokens + core)), 1, 1e-6);
}

// What tp divides takes half the time, and only that.
TEST(MeasuredStep, DividesOverRanks) {
  const models::TrainOptions options = small_run();
  Cluster free = machine(1, 2);
  free.levels[0].measured["flag"] = constant(1, 1e-20);
  free.levels[0].measured["all_reduce"] = constant(2, 1e-20);
  free.levels[0].latency = figure(1e-9);
  free.levels[0].bandwidth = figure(1e18);
  const double alone = step_seconds(free, options, mesh_of(1, 1));
  for (const MeshShape& mesh : {mesh_of(2, 1), mesh_of(1, 2)}) {
    const double both = step_seconds(free, options, mesh);
    EXPECT_GT(both, 0.5 * alone) << mesh.text();
    EXPECT_LT(both, 0.75 * alone) << mesh.text();
  }
}

// Between nodes gradients hide behind the backward pass, where there is a pass to hide behind.
TEST(MeasuredStep, HidesGradients) {
  models::TrainOptions options = small_run();
  options.model = {512, 64, 12, 4, 512};  // some 19 buckets
  const auto step = [&](double seconds_a_byte, double cost, double slowdown) {
    Cluster cluster = machine(2, 1);
    cluster.levels[0].measured["message"] = constant(1, seconds_a_byte);
    cluster.levels[0].beside_cost = figure(cost);
    cluster.levels[0].beside_slowdown = figure(slowdown);
    return step_seconds(cluster, options, mesh_of(2, 1));
  };
  const double gradients = 4.0 * static_cast<double>(models::parameter_count(options.model));
  const double none = step(1e-15, 0, 1);
  for (const double a_byte : {1e-10, 1e-9, 1e-8}) {
    const double added = step(a_byte, 0, 1) - none;
    const double alone = gradients * a_byte;
    EXPECT_GT(added, 0);
    EXPECT_LT(added, 1.1 * alone + 30 * latency) << a_byte;
    const double rounding = 1 - 1e-9;
    EXPECT_GE(step(a_byte, 0.5, 1), rounding * step(a_byte, 0, 1));
    EXPECT_GE(step(a_byte, 0, 3), rounding * step(a_byte, 0, 1));
  }
  // Much of it is hidden where the pass is as long as the exchange.
  const double added = step(1e-9, 0, 1) - none;
  EXPECT_LT(added, 0.6 * gradients * 1e-9);
}

// A link that lets `burst` bytes pass at once gains them again while ranks compute: exchanges of a step
// that send more in all take what the rate of the link makes them take, single ones do not.
TEST(MeasuredStep, WaitsForLinksWithoutRest) {
  models::TrainOptions options = small_run();
  const MeshShape mesh = mesh_of(1, 2);
  // 2 a layer and pass, the embedding, the output layer; each with so many bytes.
  const double each = 4.0 * 8 * 64 * 128, exchanges = 4 * 4 + 2;
  const double rate = 1e7;
  const auto step = [&](double burst) {
    Cluster cluster = machine(2, 1);
    Level& link = cluster.levels[0];
    link.measured["message"] = constant(1, 1e-12);  // a burst passes in no time
    link.bandwidth = figure(rate);
    if (burst >= 0) link.burst_bytes = figure(burst);
    return step_seconds(cluster, options, mesh);
  };
  const double computing = step(-1);
  // Enough for a whole step, if it is gained again in the next one.
  const double gained = rate * computing;
  ASSERT_LT(gained, each * exchanges);
  const double at_the_rate = each * exchanges / rate;
  for (const double burst : {0.0, each / 3, each, 5 * each}) {
    const double seconds = step(burst);
    EXPECT_GE(seconds, 0.999 * at_the_rate) << burst;
    EXPECT_LE(seconds, at_the_rate + 1.001 * computing) << burst;
  }
  EXPECT_LT(step(5 * each), step(0));
  // One by itself passes at once.
  Cluster cluster = machine(2, 1);
  cluster.levels[0].bandwidth = figure(rate);
  cluster.levels[0].measured["all_reduce"] = constant(2, message_byte);
  cluster.levels[0].burst_bytes = figure(each);
  const Prices prices(cluster);
  EXPECT_NEAR(prices.collective(Operation::all_reduce, each, {2, 1}) / (each * message_byte), 1, 1e-9);
  EXPECT_NEAR(prices.collective(Operation::all_reduce, 3 * each, {2, 1}) /
                  (latency + 2 * each / rate),
              1, 1e-9);
}

// What both add up are the same pieces: where ranks do not contend, plan and simulation agree.
TEST(MeasuredStep, IsWhatTheSimulatorPlays) {
  models::TrainOptions options = small_run();
  options.grad_accum = 8;
  options.batch_size = 4;
  const Model model = model_of(options.model);
  const Software software = find_software("shoal");
  // As `shoal tune` leaves a cluster with limited links: collectives as a whole, what rests, what hides.
  Cluster measured = machine(4, 1);
  for (const char* each : {"all_reduce", "reduce_scatter", "all_gather"}) {
    measured.levels[0].measured[each] = constant(2, 3 * message_byte);
  }
  measured.levels[0].beside_slowdown = figure(1.4);
  measured.levels[0].beside_cost = figure(0.3);
  Cluster resting = measured;
  resting.levels[0].burst_bytes = figure(3e5);
  Cluster several = machine(2, 2);
  for (const char* each : {"all_reduce", "reduce_scatter", "all_gather"}) {
    several.levels[1].measured[each] = constant(2, 2 * message_byte);
    several.levels[1].measured[whole_nodes_table(each)] = constant(2, 5 * message_byte);
  }
  for (const Cluster& cluster :
       {machine(1, 4), machine(4, 1), machine(2, 2), measured, resting, several}) {
    for (const MeshShape& mesh :
         {mesh_of(1, 1), mesh_of(4, 1), mesh_of(1, 4), mesh_of(2, 2), MeshShape{{{"pp", 2}}},
          MeshShape{{{"pp", 4}}}, MeshShape{{{"pp", 2}, {"dp", 1}, {"tp", 2}}}}) {
      const Workload workload = workload_of(options, mesh);
      const Layout layout = layout_of(options, mesh);
      const Prices prices(cluster);
      const Estimate planned = estimate(model, software, prices, workload, layout);
      ASSERT_EQ(planned.why_not, "");
      const Simulated played = simulate(model, software, prices, workload, layout);
      EXPECT_NEAR(played.seconds / planned.seconds, 1, 0.05)
          << mesh.text() << " on " << cluster.nodes << " nodes of " << cluster.devices_per_node
          << ": planned " << planned.seconds << ", played " << played.seconds;
    }
  }
}

// Four ranks that share two cores: one or two at work go twice as fast as all.
TEST(MeasuredStep, StagesThatWaitLeaveTheirCoresToTheOthers) {
  Cluster cluster = machine(1, 4);
  const Cluster alike = cluster;
  for (const std::string_view name : {crowd_products, crowd_streams}) {
    Table& table = cluster.device.measured[std::string(name)];
    table.axes = {{1, 2, 4}};
    table.values = {1, 1, 2};
    table.source = "a test";
  }
  Model model;
  model.name = "GPT";
  model.layers = 8;
  model.width = 512;
  model.heads = model.kv_heads = 8;
  model.head_width = 64;
  model.ffn = 2048;
  model.vocabulary = 512;
  model.context = 256;
  model.tied = model.learned_positions = true;
  Workload workload;
  workload.type = "fp32";
  workload.sequence = 256;
  const Software software = find_software("shoal");
  const Prices shared(cluster), own(alike);
  for (const int stages : {2, 4}) {
    for (const Index micro_steps : {1, 2, 8}) {
      Layout layout;
      layout.pp = stages;
      layout.dp = 4 / stages;
      workload.batch = micro_steps * layout.dp;
      const double with = estimate(model, software, shared, workload, layout).seconds;
      const double without = estimate(model, software, own, workload, layout).seconds;
      EXPECT_LT(with, without) << layout.text();
      // Nearly all of a step is computed, none of it more than twice as fast.
      EXPECT_GT(with, 0.5 * without) << layout.text();
      if (micro_steps == 1) {
        EXPECT_NEAR(with / without, 0.5, 0.1) << layout.text();
      }
      const double played = simulate(model, software, shared, workload, layout, {}, 0).seconds;
      // Played, those count as at work that sum gradients while an earlier stage still goes back.
      EXPECT_NEAR(with / played, 1, layout.dp > 1 ? 0.15 : 0.1)
          << layout.text() << ", " << micro_steps << " micro-steps";
    }
  }
}

TEST(MeasuredProfile, HasARampForEachTypeOrOneForAll) {
  Cluster cluster = machine(1, 2);
  Device& device = cluster.device;
  device.peak["bf16"] = figure(2 / flop);
  EXPECT_EQ(device.product_rate("fp32").half_depth, 0);
  device.half_depth = {{"", figure(7)}};
  EXPECT_EQ(device.product_rate("fp8").half_depth, 7);
  device.half_depth = {{"bf16", figure(220)}, {"fp32", figure(44)}};
  const Device read = parse_cluster(profile_text(cluster), "test").device;
  EXPECT_EQ(read.product_rate("fp32").half_depth, 44);
  EXPECT_EQ(read.product_rate("bf16").half_depth, 220);
  // In fp8 it multiplies as in bf16.
  EXPECT_EQ(read.product_rate("fp8").half_depth, 220);
  EXPECT_EQ(read.product_rate("fp8").flops, 2 / flop);
  // A deep product reaches more of its peak, the more so the shorter the ramp.
  const auto share = [&](const char* type, double k) {
    const ProductRate rate = read.product_rate(type);
    return 2 * 512 * 512 * k / rate.flops / product_seconds(read, rate, 512, 512, k, 1, 1);
  };
  EXPECT_GT(share("fp32", 512), share("bf16", 512));
  EXPECT_GT(share("bf16", 4096), share("bf16", 512));
}

// On a link that everything waits for a step is as long as its bytes.
TEST(MeasuredStep, HalvesWhatTravelsInBf16) {
  models::TrainOptions options = small_run();
  options.model = {512, 64, 12, 4, 512};
  const auto travels = [&](DType type) {
    options.traffic = {type, type};
    Cluster slow = machine(2, 1), fast = slow;
    slow.levels[0].measured["message"] = constant(1, 1e-6);
    fast.levels[0].measured["message"] = constant(1, 1e-15);
    return step_seconds(slow, options, mesh_of(2, 1)) - step_seconds(fast, options, mesh_of(2, 1));
  };
  for (const bool sharded : {false, true}) {
    options.savings.shard_optimizer = sharded;
    EXPECT_NEAR(travels(DType::bf16) / travels(DType::f32), 0.5, 0.05) << sharded;
  }
}

TEST(Meshes, AreAllThatCanBeAndTheQuickestFirst) {
  models::TrainOptions options = small_run();
  const Software software = find_software("shoal");
  const std::vector<PricedMesh> priced = price_meshes(options, software, machine(1, 8), 8);
  ASSERT_EQ(priced.size(), 8u);  // neither tp = 8 nor pp = 8 divides 4 heads or 4 layers
  for (std::size_t i = 0; i < priced.size(); ++i) {
    EXPECT_EQ(priced[i].mesh.size(), 8);
    EXPECT_NO_THROW(models::check(options, priced[i].mesh));
    if (i > 0) {
      EXPECT_GE(priced[i].estimate.seconds, priced[i - 1].estimate.seconds);
    }
  }
  // Exchanges of a layer over a slow network cost more than gradients once, if there are many tokens.
  options.batch_size = 128;
  EXPECT_EQ(price_meshes(options, software, machine(4, 1), 4).front().mesh.size_of("tp"), 1);
  // A batch of one cannot be divided.
  options.batch_size = 1;
  const std::vector<PricedMesh> one = price_meshes(options, software, machine(1, 4), 4);
  ASSERT_EQ(one.size(), 3u);
  EXPECT_EQ(one.front().mesh.size_of("tp"), 4);
  for (const PricedMesh& each : one) EXPECT_EQ(each.mesh.size_of("dp"), 1);
}

}  // namespace
}  // namespace shoal::planning
