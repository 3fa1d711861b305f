#include "slurm.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <sstream>

#include <shoal/runtime/error.hpp>

#include "process.hpp"

namespace shoal::launch {
namespace {

constexpr std::chrono::seconds answers_within{10};
constexpr std::size_t most_nodes = 65536;

std::optional<int> parse_count(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

std::optional<int> number(const char* variable) {
  const char* text = std::getenv(variable);
  return text != nullptr ? parse_count(text) : std::nullopt;
}

}  // namespace

std::vector<int> parse_slurm_counts(std::string_view text) {
  const auto damaged = [&] {
    return Error("slurm",
                 "the counts \"" + std::string(text.substr(0, 40)) + "\" are not understood");
  };
  std::vector<int> counts;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string_view item = text.substr(begin, end - begin);
    begin = end + 1;
    std::optional<int> repeat = 1;
    const auto open = item.find("(x");
    if (open != std::string_view::npos) {
      if (item.back() != ')') throw damaged();
      repeat = parse_count(item.substr(open + 2, item.size() - open - 3));
      item = item.substr(0, open);
    }
    const std::optional<int> count = parse_count(item);
    if (!count || !repeat || counts.size() + static_cast<std::size_t>(*repeat) > most_nodes) {
      throw damaged();
    }
    counts.insert(counts.end(), static_cast<std::size_t>(*repeat), *count);
  }
  return counts;
}

std::optional<SlurmAllocation> slurm_allocation() {
  const char* job = std::getenv("SLURM_JOB_ID");
  const char* nodes = std::getenv("SLURM_JOB_NODELIST");
  if (job == nullptr || nodes == nullptr) return std::nullopt;
  SlurmAllocation allocation;
  allocation.job = job;
  const Captured names = capture({"scontrol", "show", "hostnames", nodes}, answers_within);
  if (names.status != 0) {
    throw Error("slurm",
                "this is job " + allocation.job + ", but \"scontrol show hostnames\" fails: " +
                    names.errors.substr(0, names.errors.find('\n')),
                "see whether Slurm's commands work here, or unset SLURM_JOB_ID");
  }
  const char* cpus = std::getenv("SLURM_JOB_CPUS_PER_NODE");
  const std::vector<int> counts = parse_slurm_counts(cpus != nullptr ? cpus : "");
  std::istringstream list(names.output);
  for (std::string name; list >> name;) {
    const std::size_t at = allocation.hosts.size();
    allocation.hosts.push_back({name, at < counts.size() ? counts[at] : 1});
  }
  if (allocation.hosts.empty()) throw Error("slurm", "job " + allocation.job + " has no nodes");
  allocation.tasks = number("SLURM_NTASKS");
  allocation.tasks_per_node = number("SLURM_NTASKS_PER_NODE");
  allocation.cpus_per_task = number("SLURM_CPUS_PER_TASK");
  return allocation;
}

std::set<std::string> parse_gone_nodes(std::string_view sinfo_text) {
  std::set<std::string> gone;
  std::istringstream lines{std::string(sinfo_text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string node, state;
    if (!(words >> node >> state)) continue;
    // A mark behind the state: * does not respond, ~ and % have no power, ^ boots.
    const bool away = std::string_view("*~%^").find(state.back()) != std::string_view::npos;
    const auto is = [&](std::string_view name) { return state.rfind(name, 0) == 0; };
    if (away || is("down") || is("unknown") || is("power") || is("future") || is("error")) {
      gone.insert(node);
    }
  }
  return gone;
}

std::set<std::string> slurm_gone_nodes(const std::vector<Host>& hosts) {
  std::string names;
  for (const Host& host : hosts) names += (names.empty() ? "" : ",") + host.name;
  const Captured said = capture({"sinfo", "-h", "-N", "-o", "%N %T", "-n", names}, answers_within);
  return said.status == 0 ? parse_gone_nodes(said.output) : std::set<std::string>();
}

bool srun_serves_pmix() {
  const Captured list = capture({"srun", "--mpi=list"}, answers_within);
  // Older ones write the list to standard error.
  return list.status == 0 && (list.output + list.errors).find("pmix") != std::string::npos;
}

}  // namespace shoal::launch
