// What it takes until the ranks can work, and what each has taken of memory by then.
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/models/trainer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>

#include "report.hpp"
#include "train_configs.hpp"

namespace shoal::bench {
namespace {

constexpr double mega = 1e-6;

// Seconds since this process was made.
double age() {
  std::ifstream stat("/proc/self/stat"), uptime("/proc/uptime");
  std::string text;
  std::getline(stat, text);
  // Behind the name, which may hold anything, the start is the 20th word.
  std::istringstream words(text.substr(text.rfind(')') + 2));
  std::string word;
  constexpr int start_word = 20;
  for (int i = 0; i < start_word; ++i) words >> word;
  double now = 0;
  uptime >> now;
  return now - std::atof(word.c_str()) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

int threads_of_process() {
  int count = 0;
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return 0;
  while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.';
  closedir(tasks);
  return count;
}

// What a rank has taken at some point.
struct Taken {
  double seconds = 0;  // since the point before, of the slowest rank
  double shares = 0;   // its proportional share of memory (PSS), in bytes: mean over ranks
  double most = 0;     // of the rank with the most
  double threads = 0;  // of the rank with the most
};

// Bytes of a line of smaps_rollup.
double memory_share() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Pss:")) return 1024 * std::atof(line.c_str() + 4);
  }
  throw Error("bench start", "/proc/self/smaps_rollup does not tell the memory of this process",
              "Linux 4.14 or newer has it");
}

Taken take(const Communicator& world, double seconds) {
  barrier(world);
  const double mine = memory_share();
  barrier(world);  // nobody goes on while another still counts
  double most[3] = {seconds, mine, static_cast<double>(threads_of_process())};
  double sum = mine;
  all_reduce(world, most, most, 3, DType::f64, ReduceOp::max);
  all_reduce(world, &sum, &sum, 1, DType::f64, ReduceOp::sum);
  return {most[0], sum / world.size(), most[1], most[2]};
}

// Every collective once, and the right result of one.
void use_collectives(const Communicator& world) {
  constexpr Index count = 4096;
  const Buffer<float> data(count, Memory::node_shared);
  for (float& value : data) value = static_cast<float>(world.rank() + 1);
  all_reduce(world, data.span(), ReduceOp::sum);
  const double ranks = world.size();
  const double expected = ranks * (ranks + 1) / 2;
  if (data[0] != static_cast<float>(expected) || data[count - 1] != static_cast<float>(expected)) {
    throw Error("bench start", fmt::format("the sum over {} ranks is {}, not {}", world.size(),
                                           data[0], expected),
                "report this");
  }
  std::vector<Rank> ranks_seen(static_cast<std::size_t>(world.size()));
  const Rank me = world.rank();
  all_gather(world, &me, 1, ranks_seen.data(), DType::i32);
  for (Rank rank = 0; rank < world.size(); ++rank) {
    if (ranks_seen[static_cast<std::size_t>(rank)] != rank) {
      throw Error("bench start", fmt::format("place {} of an all-gather holds {}", rank,
                                             ranks_seen[static_cast<std::size_t>(rank)]),
                  "report this");
    }
  }
}

// Two steps of a tiny model, a sequence a replica.
void train_tiny(const Communicator& world) {
  models::TrainOptions options;
  options.model = {64, 16, 2, 4, 32};
  options.model.bias = false;
  const int tp = world.size() % 2 == 0 ? 2 : 1;
  options.batch_size = world.size() / tp;
  options.max_iters = 2;
  options.eval_interval = 0;
  const Mesh mesh(world, {{{"dp", world.size() / tp}, {"tp", tp}}});
  const models::Dataset data = random_tokens(options.model);
  models::Trainer trainer(options, mesh, data);
  trainer.run({});
}

}  // namespace

void start(const Communicator& world, const std::string& json) {
  using StartClock = std::chrono::steady_clock;
  struct Stage {
    const char* name;
    Taken taken;
  };
  std::vector<Stage> stages;
  stages.push_back({"start", take(world, age())});
  const auto time = [&](const char* name, const auto& work) {
    const auto begin = StartClock::now();
    work();
    barrier(world);
    stages.push_back(
        {name, take(world, std::chrono::duration<double>(StartClock::now() - begin).count())});
  };
  time("collectives", [&] { use_collectives(world); });
  time("training", [&] { train_tiny(world); });
  Report report(world, json);
  for (const Stage& stage : stages) {
    if (world.rank() == 0) {
      fmt::print("{:>6} ranks  {:<12} {:>8.3f} s  {:>7.1f} MB a rank, {:.1f} at most, {:.0f} threads\n",
                 world.size(), stage.name, stage.taken.seconds, stage.taken.shares * mega,
                 stage.taken.most * mega, stage.taken.threads);
    }
    Row row;
    row.op = "start";
    row.shape = stage.name;
    row.median_us = stage.taken.seconds * 1e6;
    row.more = {{"memory_share_bytes", stage.taken.shares},
                {"memory_share_most_bytes", stage.taken.most},
                {"threads", stage.taken.threads}};
    report.add(std::move(row));
  }
  std::fflush(stdout);
  report.write();
}

}  // namespace shoal::bench
