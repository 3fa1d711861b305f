#include "state.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::launch::lab {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* base = "/run/shoal-lab";
constexpr int subnets = 256;

std::string state_file(const std::string& name) { return fmt::format("{}/{}.json", base, name); }

Json to_json(const Holder& holder) { return {{"pid", holder.pid}, {"born", holder.born}}; }

[[noreturn]] void damaged(const std::string& where, const std::string& problem) {
  throw Error("lab", where + " is damaged: " + problem, "shoal lab down, then up again");
}

// Numbers are looked at before they become a type that could not hold them.
double number_in(const Json& json, const char* name, double least, double most,
                 const std::string& where) {
  const Json& value = json.at(name);
  if (!value.is_number()) damaged(where, fmt::format("\"{}\" is no number", name));
  const auto number = value.get<double>();
  if (!(number >= least && number <= most)) {
    damaged(where, fmt::format("\"{}\" is {}, not from {} to {}", name, number, least, most));
  }
  return number;
}

Holder holder_from(const Json& json, const std::string& where) {
  constexpr double most_processes = 1 << 22;  // of Linux
  return {static_cast<pid_t>(number_in(json, "pid", 0, most_processes, where)), json.at("born")};
}

template <class T>
Json to_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// Of what a host may have or not: above nothing, if it is there.
template <class T>
std::optional<T> optional_in(const Json& json, const char* name, double least, double most,
                             const std::string& where) {
  if (json.at(name).is_null()) return std::nullopt;
  return static_cast<T>(number_in(json, name, least, most, where));
}

Lab lab_from(const Json& json, const std::string& where) {
  constexpr double most_number = 1e15;
  constexpr std::size_t most_hosts = 254;
  Lab lab;
  lab.name = parse_name(json.at("name").get<std::string>());
  lab.subnet = static_cast<int>(number_in(json, "subnet", 0, subnets - 1, where));
  lab.network_switch = holder_from(json.at("switch"), where);
  const Json& hosts = json.at("hosts");
  if (!hosts.is_array() || hosts.empty() || hosts.size() > most_hosts) {
    damaged(where, fmt::format("\"hosts\" is not a list of 1 to {}", most_hosts));
  }
  for (const Json& entry : hosts) {
    Host host;
    host.holder = holder_from(entry.at("holder"), where);
    host.spec.cpu = optional_in<double>(entry, "cpu", 1e-9, most_number, where);
    host.spec.link = optional_in<std::uint64_t>(entry, "link_bits_per_s", 1, most_number, where);
    host.spec.memory = optional_in<Bytes>(entry, "memory_bytes", 1, most_number, where);
    host.spec.latency = Seconds(number_in(entry, "latency_s", 0, 1e6, where));
    lab.hosts.push_back(host);
  }
  return lab;
}

Json to_json(const Lab& lab) {
  Json json{{"name", lab.name}, {"subnet", lab.subnet}, {"switch", to_json(lab.network_switch)}};
  for (const Host& host : lab.hosts) {
    json["hosts"].push_back({{"holder", to_json(host.holder)},
                             {"cpu", to_json(host.spec.cpu)},
                             {"link_bits_per_s", to_json(host.spec.link)},
                             {"memory_bytes", to_json(host.spec.memory)},
                             {"latency_s", host.spec.latency.count()}});
  }
  return json;
}

// Field 22 of /proc/PID/stat, behind the name, which may hold spaces. Empty: no such process, or
// one that has ended and is only waited for.
std::string start_time(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text);
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int number = 3; fields >> field; ++number) {
    if (number == 3 && (field == "Z" || field == "X")) return {};
    if (number == 22) return field;
  }
  return {};
}

}  // namespace

Holder Holder::of(pid_t pid) { return {pid, start_time(pid)}; }
bool Holder::alive() const { return pid > 0 && !born.empty() && start_time(pid) == born; }

std::string Lab::address(int host) const { return fmt::format("10.99.{}.{}", subnet, host + 1); }

std::vector<HostSpec> Lab::specs() const {
  std::vector<HostSpec> all;
  for (const Host& host : hosts) all.push_back(host.spec);
  return all;
}

void Lab::require_alive() const {
  std::string gone = network_switch.alive() ? "" : " switch";
  for (int i = 0; i < size(); ++i) {
    if (!hosts[static_cast<std::size_t>(i)].holder.alive()) gone += " " + host_name(i);
  }
  if (gone.empty()) return;
  throw Error("lab " + name, "no longer there:" + gone, "shoal lab down, then up again");
}

std::string lab_folder(const std::string& name) { return fmt::format("{}/{}", base, name); }

Lock::Lock() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (;;) {
    if (mkdir(base, 0755) != 0 && errno != EEXIST) {
      throw Error("lab", fmt::format("cannot make {}: {}", base, std::strerror(errno)));
    }
    folder_ = Descriptor(open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder_ && flock(folder_.get(), LOCK_EX | LOCK_NB) == 0) {
      // Its last owner may have removed the folder meanwhile: then the lock is one on nothing.
      struct stat locked {};
      struct stat named {};
      if (fstat(folder_.get(), &locked) == 0 && stat(base, &named) == 0 &&
          locked.st_ino == named.st_ino) {
        return;
      }
    }
    if (std::chrono::steady_clock::now() > deadline) {
      throw Error("lab", "another lab command has not ended within 30 s", "see what it does");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

Lock::~Lock() { rmdir(base); }  // fails while it holds anything, as it should

std::optional<Lab> load(const std::string& name) {
  std::ifstream file(state_file(name));
  if (!file) return std::nullopt;
  return parse_lab({std::istreambuf_iterator<char>(file), {}}, state_file(name));
}

Lab parse_lab(const std::string& text, const std::string& where) {
  try {
    return lab_from(Json::parse(text), where);
  } catch (const Json::exception& error) {
    damaged(where, error.what());
  }
}

std::string lab_text(const Lab& lab) { return to_json(lab).dump(2) + "\n"; }

Lab load_running(const std::string& name) {
  std::optional<Lab> lab = load(name);
  if (lab) return *std::move(lab);
  throw UsageError("lab", "no lab \"" + name + "\" is up", "shoal lab up makes one");
}

void save(const Lab& lab) {
  const std::string path = state_file(lab.name);
  const std::string fresh = path + ".new";
  std::ofstream file(fresh);
  file << lab_text(lab);
  file.close();
  if (!file || std::rename(fresh.c_str(), path.c_str()) != 0) {
    throw Error("lab", "cannot write " + path + ": " + std::strerror(errno));
  }
}

bool forget(const std::string& name) {
  std::error_code problem;
  bool found = fs::remove(state_file(name) + ".new", problem);
  found = fs::remove(state_file(name), problem) || found;
  const auto removed = fs::remove_all(lab_folder(name), problem);
  if (problem) {
    throw Error("lab down", "cannot remove " + lab_folder(name) + ": " + problem.message());
  }
  return found || removed > 0;
}

int free_subnet() {
  std::set<int> used;
  std::error_code problem;
  for (const fs::directory_entry& entry : fs::directory_iterator(base, problem)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const Json json = Json::parse(file, nullptr, false);
    if (!json.is_object() || !json.contains("subnet")) continue;
    const Json& subnet = json["subnet"];
    if (subnet.is_number_unsigned() && subnet < subnets) used.insert(subnet.get<int>());
  }
  for (int subnet = 0; subnet < subnets; ++subnet) {
    if (used.count(subnet) == 0) return subnet;
  }
  throw Error("lab up", "all 256 subnets of 10.99.0.0/16 have a lab", "take one down");
}

}  // namespace shoal::launch::lab
