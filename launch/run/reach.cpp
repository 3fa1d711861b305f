#include "reach.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <shoal_version.h>
#include <shoal/runtime/runtime.hpp>

#include "local_host.hpp"
#include "process.hpp"
#include "slurm.hpp"

namespace shoal::launch {
namespace {

constexpr std::chrono::seconds patience{10};
constexpr const char* greeting = "shoal-answer";

// A command for another host; ssh gives it to a shell there.
Words remote(const std::string& rsh_agent, const std::string& host, const Words& command) {
  Words words;
  std::istringstream agent(rsh_agent.empty() ? "ssh -o BatchMode=yes -o ConnectTimeout=5"
                                             : rsh_agent);
  for (std::string word; agent >> word;) words.push_back(word);
  words.push_back(host);
  words.push_back(shell_line(command));
  return words;
}

// Beside whatever is left of an earlier step.
Words slurm_step(const std::string& host, const Words& command) {
  Words words{"srun",      "--overlap",  "--mpi=none",
              "--nodes=1", "--ntasks=1", "--nodelist=" + host};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

std::string last_line(const std::string& text) {
  const auto end = text.find_last_not_of(" \r\n");
  if (end == std::string::npos) return "";
  const auto begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin + 1) + 1);
}

void read_answer(HostAnswer& answer, const Captured& said) {
  // A login script may have written lines of its own.
  const auto at = said.output.rfind(greeting);
  if (said.status == 0 && at != std::string::npos) {
    std::istringstream line(said.output.substr(at));
    std::string word;
    line >> word >> answer.cores >> answer.version;
    std::getline(line >> std::ws, answer.mpi);
    answer.reached = answer.cores > 0;
    if (answer.reached) return;
  }
  if (said.status == -1) {
    answer.why_not = fmt::format("no answer within {} s", patience.count());
    answer.cure = "see whether the host is up and ssh " + answer.host.name + " works";
  } else if (said.status == 126 || said.status == 127) {
    answer.why_not = "no " + own_executable() + " there, or it does not start";
    answer.cure = "install Shoal under the same path on every host, or on a shared file system";
  } else {
    const std::string reason = last_line(said.errors.empty() ? said.output : said.errors);
    answer.why_not = reason.empty() ? fmt::format("status {}", said.status) : reason;
    answer.cure = "make 'ssh " + answer.host.name + " true' work without a password";
  }
}

using Way = std::function<Words(const std::string& host, const Words& command)>;

std::vector<HostAnswer> ask(const std::vector<Host>& hosts, const Way& way) {
  std::vector<HostAnswer> answers;
  std::vector<Words> questions;
  std::vector<std::size_t> asked;
  for (const Host& host : hosts) {
    HostAnswer answer;
    answer.host = host;
    if (is_local_host(host.name)) {
      answer.reached = true;
      answer.cores = usable_cores();
      answer.version = fmt::format("{}+{}", SHOAL_VERSION, SHOAL_GIT_REVISION);
      answer.mpi = Runtime::mpi_version();
    } else {
      asked.push_back(answers.size());
      questions.push_back(way(host.name, {own_executable(), "run", "--answer"}));
    }
    answers.push_back(answer);
  }
  const std::vector<Captured> said = capture_all(questions, patience);
  for (std::size_t i = 0; i < said.size(); ++i) read_answer(answers[asked[i]], said[i]);
  return answers;
}

bool has_mark(const std::filesystem::path& process, const std::string& mark) {
  std::ifstream in(process / "environ", std::ios::binary);
  for (std::string entry; std::getline(in, entry, '\0');) {
    if (entry == mark) return true;
  }
  return false;
}

pid_t parent_of(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  // The name in parentheses may hold anything.
  const auto close = text.rfind(')');
  if (close == std::string::npos) return 0;
  std::istringstream rest(text.substr(close + 1));
  std::string state;
  pid_t parent = 0;
  rest >> state >> parent;
  return parent;
}

}  // namespace

std::string own_executable() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "shoal" : path.string();
}

std::string own_answer() {
  return fmt::format("{} {} {}+{} {}\n", greeting, usable_cores(), SHOAL_VERSION,
                     SHOAL_GIT_REVISION, Runtime::mpi_version());
}

std::vector<HostAnswer> ask_hosts(const std::vector<Host>& hosts, const std::string& rsh_agent) {
  return ask(hosts, [&](const std::string& host, const Words& command) {
    return remote(rsh_agent, host, command);
  });
}

std::vector<HostAnswer> ask_slurm_nodes(const std::vector<Host>& hosts) {
  const std::set<std::string> gone = slurm_gone_nodes(hosts);
  std::vector<Host> left;
  std::copy_if(hosts.begin(), hosts.end(), std::back_inserter(left),
               [&](const Host& host) { return gone.count(host.name) == 0; });
  const std::vector<HostAnswer> given = ask(left, slurm_step);
  std::vector<HostAnswer> answers;
  auto next = given.begin();
  for (const Host& host : hosts) {
    if (gone.count(host.name) == 0) {
      answers.push_back(*next++);
      continue;
    }
    HostAnswer none;
    none.host = host;
    none.why_not = "it is down, says Slurm";
    none.cure = "see sinfo -R";
    answers.push_back(std::move(none));
  }
  return answers;
}

void sweep_hosts(const std::vector<Host>& hosts, const std::string& rsh_agent,
                 const std::string& job) {
  std::vector<Words> commands;
  for (const Host& host : hosts) {
    if (is_local_host(host.name)) continue;
    commands.push_back(remote(rsh_agent, host.name, {own_executable(), "run", "--sweep", job}));
  }
  capture_all(commands, patience);
  sweep_here(job);
}

int sweep_here(const std::string& job) {
  std::set<pid_t> spared;
  for (pid_t pid = getpid(); pid > 0; pid = parent_of(pid)) spared.insert(pid);
  int killed = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc", error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::atol(name.c_str()));
    if (spared.count(pid) > 0 || !has_mark(at->path(), "SHOAL_RUN_ID=" + job)) continue;
    if (kill(pid, SIGKILL) == 0) ++killed;
  }
  return killed;
}

}  // namespace shoal::launch
