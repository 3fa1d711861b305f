#include "compare.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>

#include "run.hpp"

namespace shoal::launch::lab {
namespace {

// One way to train, measured; times of a step.
struct Training {
  std::string mesh;
  double seconds = 0, tokens_per_s = 0;
  double processor_s = 0;  // of all ranks
  double sent_bytes = 0;   // by the busiest host
  double comm = 0, bubble = 0;
  int micro_batches = 1;
  double efficiency = 0;
};

// Files that a run writes and that go with it.
class ResultFile {
 public:
  ResultFile(const Lab& lab, const char* name)
      : path_(fmt::format("{}/{}.{}.json", lab_folder(lab.name), name, getpid())) {}
  ResultFile(const ResultFile&) = delete;
  ResultFile& operator=(const ResultFile&) = delete;
  ~ResultFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  const std::string& path() const { return path_; }

  std::vector<Training> read() const {
    std::ifstream file(path_);
    std::vector<Training> all;
    try {
      const nlohmann::json report = nlohmann::json::parse(file);
      for (const auto& row : report.at("results")) {
        Training one;
        one.mesh = row.at("algorithm");
        one.seconds = row.at("median_us").get<double>() * 1e-6;
        one.tokens_per_s = row.at("tokens_per_s");
        one.processor_s = row.at("processor_s");
        one.sent_bytes = row.value("sent_bytes", 0.0);
        one.comm = row.at("comm_share");
        one.bubble = row.at("bubble");
        one.micro_batches = static_cast<int>(row.at("micro_batches").get<double>());
        all.push_back(one);
      }
    } catch (const nlohmann::json::exception& error) {
      throw Error("lab compare", path_ + ": " + error.what(), "report this");
    }
    return all;
  }

 private:
  std::string path_;
};

std::vector<std::string> command_of(const CompareOptions& options, const std::string& mesh,
                                    const std::string& json) {
  return {"shoal", "bench", "train", "--config", options.config, "--dtype", options.type, "--mesh",
          mesh, "--batch-size", std::to_string(options.batch_size), "--grad-accum",
          std::to_string(options.micro_batches), "--zero", options.shard_optimizer ? "1" : "0",
          "--gradient-dtype", options.gradient_type, "--gather-dtype", options.gather_type,
          "--warm-up", std::to_string(options.warm_up), "--steps", std::to_string(options.steps),
          "--json", json};
}

// Seconds in which a link carries so many bytes.
double wire_seconds(const Lab& lab, double bytes) {
  double slowest = 0;
  for (const Host& host : lab.hosts) {
    if (!host.spec.link) continue;
    const auto rate = static_cast<double>(*host.spec.link);
    slowest = slowest == 0 ? rate : std::min(slowest, rate);
  }
  return slowest > 0 ? 8 * bytes / slowest : 0;
}

void print_comparison(const Lab& lab, const std::vector<Training>& all, const Training& alone,
                      double cores, int threads) {
  fmt::print("\none process, {} threads: {:.2f} s a step, {:.0f} tokens/s, {:.2f} s of processors\n",
             threads, alone.seconds, alone.tokens_per_s, alone.processor_s);
  fmt::print("{} hosts with {:.2f} cores' worth of time together:\n", lab.size(), cores);
  fmt::print("{:<18} {:>7} {:>8} {:>6} {:>9} {:>7} {:>6} {:>7} {:>6} {:>6}\n", "mesh", "s", "tokens/s",
             "E", "sent MB", "wire s", "micro", "bubble", "work", "idle");
  for (const Training& one : all) {
    fmt::print("{:<18} {:>7.2f} {:>8.0f} {:>6.3f} {:>9.1f} {:>7.2f} {:>6} {:>6.0f}% {:>5.0f}% {:>5.0f}%\n",
               one.mesh, one.seconds, one.tokens_per_s, one.efficiency, one.sent_bytes * 1e-6,
               wire_seconds(lab, one.sent_bytes), one.micro_batches, 100 * one.bubble,
               100 * one.processor_s / alone.processor_s,
               100 * (1 - one.processor_s / (one.seconds * cores)));
  }
  fmt::print("E: speed over the one process's, for each core's worth of time. sent: by the busiest host a\n"
             "step; wire: what its link takes for that. work: processors' time over the one process's;\n"
             "idle: of the hosts' share of the processors, in waiting for links and for each other.\n");
}

// The best and what sets the others apart from it.
void print_verdict(const Lab& lab, std::vector<Training> all, const Training& alone) {
  std::stable_sort(all.begin(), all.end(), [](const Training& a, const Training& b) {
    return a.efficiency > b.efficiency;
  });
  const Training& best = all.front();
  fmt::print("{} wins: E {:.2f}; its hosts send up to {:.1f} MB, {:.2f} s of the wire, in steps of {:.2f} s.\n",
             best.mesh, best.efficiency, best.sent_bytes * 1e-6,
             wire_seconds(lab, best.sent_bytes), best.seconds);
  for (std::size_t i = 1; i < all.size(); ++i) {
    const Training& one = all[i];
    std::vector<std::string> reasons;
    if (one.sent_bytes > 1.1 * best.sent_bytes) {
      reasons.push_back(fmt::format("sends {:.1f} times as much", one.sent_bytes / best.sent_bytes));
    }
    if (one.bubble > best.bubble + 0.02) {
      reasons.push_back(fmt::format("waits {:.0f} % of its passes for other stages", 100 * one.bubble));
    }
    const double more_work = (one.processor_s - best.processor_s) / alone.processor_s;
    if (more_work > 0.02) {
      reasons.push_back(fmt::format("works {:.0f} % of the one process's time more", 100 * more_work));
    }
    fmt::print("  {}: {:.0f} % slower{}{}\n", one.mesh, 100 * (one.seconds / best.seconds - 1),
               reasons.empty() ? "" : "; ", fmt::join(reasons, ", "));
  }
}

void write_comparison(const Lab& lab, const std::vector<Training>& all, const Training& alone,
                      double cores, const std::string& path) {
  nlohmann::ordered_json json{{"lab", lab.name},
                              {"hosts", lab.size()},
                              {"cores", cores},
                              {"one_process_s", alone.seconds},
                              {"one_process_processor_s", alone.processor_s}};
  for (const Training& one : all) {
    json["meshes"].push_back({{"mesh", one.mesh},
                              {"step_s", one.seconds},
                              {"tokens_per_s", one.tokens_per_s},
                              {"e", one.efficiency},
                              {"sent_bytes", one.sent_bytes},
                              {"micro_batches", one.micro_batches},
                              {"comm_share", one.comm},
                              {"bubble", one.bubble},
                              {"processor_s", one.processor_s}});
  }
  std::ofstream out(path);
  out << json.dump(2) << '\n';
  out.close();
  if (!out) throw UsageError("lab compare", "cannot write " + path, "give another --json");
}

}  // namespace

std::vector<std::string> candidates(int hosts) {
  std::vector<std::string> meshes;
  for (int pp = 1; pp <= hosts; ++pp) {
    for (int tp = 1; pp * tp <= hosts && tp <= 4; tp *= 2) {
      if (hosts % (pp * tp) != 0) continue;
      meshes.push_back(pp > 1 ? fmt::format("pp={},dp={},tp={}", pp, hosts / pp / tp, tp)
                              : fmt::format("dp={},tp={}", hosts / tp, tp));
    }
  }
  return meshes;
}

int compare(const Lab& lab, const CompareOptions& options) {
  const std::vector<double> shares =
      expected_cpu(lab.specs(), static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)));
  const double cores = std::accumulate(shares.begin(), shares.end(), 0.0);
  const int threads = std::max(1, static_cast<int>(std::lround(cores)));
  const std::vector<std::string> meshes =
      options.meshes.empty() ? candidates(lab.size()) : options.meshes;
  for (const std::string& mesh : meshes) {
    const int ranks = MeshShape::parse(mesh).size();
    if (ranks == lab.size()) continue;
    throw UsageError("lab compare",
                     fmt::format("mesh {} needs {} hosts, but lab {} has {}", mesh, ranks, lab.name,
                                 lab.size()),
                     "give each host one rank");
  }

  const ResultFile of_one(lab, "alone"), of_hosts(lab, "hosts");
  int status = run_outside(command_of(options, "dp=1", of_one.path()), threads);
  if (status != 0) return status;
  RunOptions run;
  run.ranks = lab.size();
  run.command = command_of(options, fmt::format("{}", fmt::join(meshes, ";")), of_hosts.path());
  status = run_mpi(lab, run);
  if (status != 0) return status;

  const Training alone = of_one.read().at(0);
  std::vector<Training> all = of_hosts.read();
  for (Training& one : all) {
    one.efficiency = alone.seconds * threads / (one.seconds * cores);
  }
  print_comparison(lab, all, alone, cores, threads);
  print_verdict(lab, all, alone);
  if (!options.json.empty()) write_comparison(lab, all, alone, cores, options.json);
  return 0;
}

}  // namespace shoal::launch::lab
