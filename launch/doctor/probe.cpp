// shoal doctor-probe: the ranks of shoal doctor, one a host. Hidden; prints JSON for the doctor.
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <shoal/collectives/point_to_point.hpp>

#include "../command.hpp"
#include "facts.hpp"
#include "pairs.hpp"
#include "route.hpp"

namespace shoal::launch {
namespace {

using Json = nlohmann::ordered_json;

// The texts of all ranks, on rank 0.
std::vector<std::string> gather(const Communicator& world, const std::string& mine) {
  constexpr int tag = 3;
  std::vector<std::string> texts{mine};
  std::int64_t length = static_cast<std::int64_t>(mine.size());
  if (world.rank() != 0) {
    send(world, &length, 1, DType::i64, 0, tag);
    send(world, mine.data(), length, DType::i8, 0, tag);
    return {};
  }
  for (Rank from = 1; from < world.size(); ++from) {
    receive(world, &length, 1, DType::i64, from, tag);
    std::string text(static_cast<std::size_t>(length), '\0');
    receive(world, text.data(), length, DType::i8, from, tag);
    texts.push_back(std::move(text));
  }
  return texts;
}

class ProbeCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("doctor-probe", "");
    app_->group("");
    app_->add_option("--seconds", seconds_);
    app_->add_option("--names", names_)->delimiter(',');
  }

  int run(Runtime& runtime) override {
    const Communicator& world = runtime.world();
    Json mine = local_facts();
    if (static_cast<int>(names_.size()) == world.size() && world.size() > 1) {
      const Route route = route_to(names_[world.rank() == 0 ? 1 : 0]);
      mine["interface"] = route.interface;
      mine["address"] = route.address;
      mine["speed"] = route.speed;
      mine["route_problem"] = route.problem;
    }
    const std::vector<std::string> texts =
        gather(world, mine.dump(-1, ' ', false, Json::error_handler_t::replace));
    const std::vector<ClockSkew> clocks = measure_clocks(world);
    const std::vector<PairTime> pairs = measure_pairs(world, seconds_);
    if (world.rank() != 0) return 0;
    Json result;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      Json host = Json::parse(texts[i]);
      host["clock_ahead_s"] = clocks[i].ahead_s;
      host["clock_error_s"] = clocks[i].error_s;
      result["hosts"].push_back(std::move(host));
    }
    result["pairs"] = Json::array();
    for (const PairTime& pair : pairs) {
      result["pairs"].push_back({{"a", pair.a},
                                 {"b", pair.b},
                                 {"latency_s", pair.latency_s},
                                 {"bytes_per_second", pair.bytes_per_second}});
    }
    // A line each: srun, where it tells the ranks' lines apart, breaks those of more than a kilobyte or two.
    std::printf("%s\n", result.dump(0).c_str());
    return 0;
  }

 private:
  double seconds_ = 5;
  std::vector<std::string> names_;
};

}  // namespace

std::unique_ptr<Command> make_probe_command() { return std::make_unique<ProbeCommand>(); }

}  // namespace shoal::launch
