#include "report/suite.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "report/predict.hpp"

namespace shoal::launch::report {
namespace {

constexpr const char* lab_name = "shoal-report";
constexpr int lab_hosts = 4;
constexpr double least_profile_minutes = 8;  // of a report, for a whole profile, which takes two of them
constexpr double checkpoint_bytes = 8e9;  // of disk: two checkpoints of GPT-2 and what else there is

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words on_ranks(int ranks) { return {"run", "--quiet", "-n", std::to_string(ranks), "--"}; }

// Times scale with what there is; what is fixed (starting, checking) does not.
class SuiteMaker {
 public:
  explicit SuiteMaker(const SuiteOptions& options)
      : options_(options),
        ranks_(std::max(options.cores, 2)),
        scale_(std::clamp(options.minutes / 5, 0.1, 20.0)) {}

  std::vector<Measurement> make() {
    collectives();
    kernels();
    for (const int ranks : rank_counts(options_.cores)) train(ranks);
    matmul();
    layer();
    plan_check();
    predict();
    equal();
    checkpoint();
    lab();
    return std::move(suite_);
  }

 private:
  std::string seconds(double usual) const {
    return fmt::format("{:.3g}", options_.quick ? usual / 10 : usual * scale_);
  }
  // Of a number of repetitions.
  std::string times(int usual) const {
    const double wanted = options_.quick ? usual / 5.0 : usual * scale_;
    return std::to_string(std::max(2, static_cast<int>(wanted)));
  }
  double expect(double usual, double quick) const {
    return options_.quick ? quick : std::max(quick, usual * scale_);
  }
  Measurement& add(const std::string& id, const std::string& title, Words words, double expected) {
    Measurement each;
    each.id = id;
    each.title = title;
    each.commands = {std::move(words)};
    each.expected = expected;
    suite_.push_back(std::move(each));
    return suite_.back();
  }

  void collectives() {
    Words words = on_ranks(ranks_) + Words{"bench", "collectives", "--algorithms", "auto"};
    words = words + (options_.quick
                         ? Words{"--sizes", "1K:4M:16", "--peers", "none"}
                         : Words{"--sizes", "16:64M:4", "--peers", "auto"});
    words = words + Words{"--seconds-per-size", seconds(0.3), "--json", "collectives.json"};
    add("collectives", fmt::format("Collectives on {} ranks", ranks_), words, expect(60, 6));
  }

  void kernels() {
    const std::string squares =
        options_.quick ? "64,64,64;256,256,256;1024,1024,1024"
                       : "64,64,64;128,128,128;256,256,256;512,512,512;1024,1024,1024;2048,2048,2048";
    const std::string rest =
        options_.quick ? ";1,4096,4096" : ";1,4096,4096;8,4096,4096;256,2304,768;256,768,3072";
    add("kernels", "Matrix products in one process",
        {"bench", "kernels", "--dtype", options_.quick ? "fp32,bf16" : "fp32,bf16,int8", "--shapes",
         squares + rest, "--seconds", seconds(0.3), "--json", "kernels.json"},
        expect(25, 6));
  }

  void train(int ranks) {
    const std::string id = fmt::format("train-{}", ranks);
    // One core a rank, also where there are more: what the planner's curve is for.
    Words words = {"run", "--quiet", "-n", std::to_string(ranks), "--threads", "1", "--"};
    words = words + Words{"bench", "train", "--config", options_.quick ? "nano" : "nano,gpt2",
                          "--dtype", "fp32,bf16"};
    if (options_.quick) words = words + Words{"--steps", "20"};
    add(id, fmt::format("Training on {} rank{}", ranks, ranks == 1 ? "" : "s"),
        words + Words{"--json", id + ".json"}, options_.quick ? 5 : 25)
        .optional = ranks != 1 && ranks != options_.cores;
  }

  void matmul() {
    add("matmul", fmt::format("Products divided over {} ranks", ranks_),
        on_ranks(ranks_) + Words{"bench", "matmul", "--dtype", "fp32,bf16", "--sizes",
                                 options_.quick ? "512,1024" : "512,1024,2048", "--rounds",
                                 times(25), "--json", "matmul.json"},
        expect(20, 5));
  }

  void layer() {
    add("layer", fmt::format("A transformer block on {} ranks", ranks_),
        on_ranks(ranks_) + Words{"bench", "layer", "--dtype", "fp32,bf16", "--width",
                                 options_.quick ? "256" : "768,1536", "--sequence",
                                 options_.quick ? "64" : "256", "--rounds", times(5), "--json", "layer.json"},
        expect(40, 4));
  }

  // The profile first, coarsely where there is little time: its error is then the larger.
  void plan_check() {
    Words profile = on_ranks(ranks_) + Words{"tune", "--what", "profile", "--profile",
                                             "plan-check.profile.json", "--output", "plan-check.tuning.json"};
    if (options_.quick || options_.minutes < least_profile_minutes) profile.push_back("--quick");
    Measurement& each = add("plan-check", "The planner against this machine", {}, expect(150, 20));
    each.commands = {profile, on_ranks(ranks_) + Words{"plan", "--check", "--cluster", "plan-check.profile.json",
                                                       "--configs", options_.quick ? "nano" : "nano,small",
                                                       "--json", "plan-check.json"}};
  }

  void predict() {
    Measurement& each = add("predict", "The planner’s model of this machine", {}, 1);
    each.commands.clear();
    each.inside = [cores = options_.cores] { write_predictions(cores); };
    each.shown = "shoal plan --cluster this-machine.json --model MODEL.model.json --nodes N";
  }

  void equal() {
    add("equal-machine", "Machines like this that equal an H100",
        {"equal", "--device", "h100-sxm", "--node", "this-machine.json", "--model", "llama-2-7b",
         "--json", "equal-machine.json"},
        2);
    add("equal-cloudmatrix", "CloudMatrix 384 against GB200 NVL72",
        {"equal", "--device", "gb200-nvl72", "--node", "ascend-910c", "--model", "deepseek-r1",
         "--json", "equal-cloudmatrix.json"},
        7);
  }

  void checkpoint() {
    Measurement& each =
        add("checkpoint", "What a checkpoint costs",
            on_ranks(ranks_) + Words{"bench", "checkpoint", "--config", "gpt2", "--rounds", times(3),
                                     "--json", "checkpoint.json"},
            expect(100, 30));
    each.optional = true;
    std::error_code problem;
    const auto space = std::filesystem::space(".", problem);
    if (options_.quick) {
      each.why_not = "--quick leaves it out";
    } else if (!problem && static_cast<double>(space.available) < checkpoint_bytes) {
      each.why_not = fmt::format("it needs 8 GB of disk, and there are {:.1f} GB",
                                 static_cast<double>(space.available) * 1e-9);
    }
  }

  void lab() {
    Measurement& each = add("lab", fmt::format("All-reduce between {} hosts of a lab", lab_hosts), {}, 30);
    each.commands = {
        {"lab", "up", "--name", lab_name, "--hosts", std::to_string(lab_hosts), "--link", "1gbit",
         "--no-calibration"},
        {"lab", "run", "--name", lab_name, "--", "shoal", "bench", "collectives", "--ops", "all_reduce",
         "--algorithms", "auto", "--sizes", options_.quick ? "4K:1M:16" : "4K:4M:4",
         "--seconds-per-size", seconds(1), "--json", "lab.json"}};
    each.cleanup = {"lab", "down", "--name", lab_name};
    if (!options_.lab) {
      each.why_not = "it is measured with --lab, as root";
    } else if (!options_.may_use_lab) {
      each.why_not = "the lab needs root: sudo shoal report --lab";
    }
  }

  SuiteOptions options_;
  int ranks_;
  double scale_;
  std::vector<Measurement> suite_;
};

}  // namespace

std::string Measurement::command_line() const {
  if (commands.empty()) return shown;
  std::string line;
  for (const Words& words : commands) {
    line += (line.empty() ? "shoal " : " && shoal ") + shell_line(words);
  }
  return line;
}

std::vector<int> rank_counts(int cores) {
  std::vector<int> counts;
  for (int ranks = 1; ranks < cores; ranks *= 2) counts.push_back(ranks);
  counts.push_back(std::max(cores, 1));
  return counts;
}

std::vector<Measurement> suite_for(const SuiteOptions& options) { return SuiteMaker(options).make(); }

}  // namespace shoal::launch::report
