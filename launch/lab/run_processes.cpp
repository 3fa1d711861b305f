#include "run_processes.hpp"

#include <signal.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include <fmt/format.h>

#include "network.hpp"

namespace shoal::launch::lab {
namespace {

// Every entry of an environment, as the kernel shows it, ends with a zero; here one begins it too.
const std::string zero(1, '\0');

}  // namespace

RunProcesses::RunProcesses(const Lab& lab, std::string id)
    : lab_(lab), mark_(zero + variable + "=" + std::move(id) + zero) {}

// Empty if it belongs to another run, or has ended.
std::string RunProcesses::environment_of_ours(pid_t process) const {
  std::ifstream file(fmt::format("/proc/{}/environ", process), std::ios::binary);
  const std::string environment =
      zero + std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return environment.find(mark_) != std::string::npos ? environment : std::string();
}

int RunProcesses::ranks_on(int host) const {
  int count = 0;
  for (const pid_t process : groups_.processes(lab_.name, host_name(host))) {
    const std::string environment = environment_of_ours(process);
    if (environment.find(zero + "OMPI_COMM_WORLD_RANK=") != std::string::npos) ++count;
  }
  return count;
}

int RunProcesses::ranks() const {
  int count = 0;
  for (int host = 0; host < lab_.size(); ++host) count += ranks_on(host);
  return count;
}

int RunProcesses::ranks_plugged_in() const {
  const std::vector<bool> plugged = links_up(lab_);
  int count = 0;
  for (int host = 0; host < lab_.size(); ++host) {
    if (plugged[static_cast<std::size_t>(host)]) count += ranks_on(host);
  }
  return count;
}

void RunProcesses::kill_all() const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  for (bool found = true; found && std::chrono::steady_clock::now() < deadline;) {
    found = false;
    for (int host = 0; host < lab_.size(); ++host) {
      for (const pid_t process : groups_.processes(lab_.name, host_name(host))) {
        if (environment_of_ours(process).empty()) continue;
        kill(process, SIGKILL);
        found = true;
      }
    }
    if (found) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace shoal::launch::lab
