#include "lab.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "cgroup.hpp"
#include "namespaces.hpp"
#include "network.hpp"

namespace shoal::launch::lab {
namespace {

constexpr const char* switch_name = "switch";

// Undoes a lab that did not come to its end.
class Rollback {
 public:
  explicit Rollback(std::string name) : name_(std::move(name)) {}
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() {
    if (name_.empty()) return;
    try {
      Cgroups().remove(name_);
      forget(name_);
    } catch (const Error& error) {
      fmt::print(stderr, "shoal: {}\n", error.message());
    }
  }
  void dismiss() { name_.clear(); }

 private:
  std::string name_;
};

void make_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    throw Error("lab up", fmt::format("cannot make {}: {}", path, std::strerror(errno)));
  }
}

// The files that the hosts see: the names of all, and a place for temporary ones on each.
void make_files(const Lab& lab) {
  make_folder(lab_folder(lab.name));
  std::ofstream names(lab_folder(lab.name) + "/hosts");
  names << "127.0.0.1 localhost\n";
  for (int i = 0; i < lab.size(); ++i) {
    names << lab.address(i) << ' ' << host_name(i) << '\n';
    make_folder(lab_folder(lab.name) + "/" + host_name(i));
  }
  names.close();
  if (!names) throw Error("lab up", "cannot write " + lab_folder(lab.name) + "/hosts");
}

void require_free(const std::string& name, const Cgroups& groups) {
  if (load(name)) {
    throw UsageError("lab up", "lab \"" + name + "\" is up already",
                     "shoal lab down first, or make another one with --name");
  }
  if (!groups.hosts(name).empty()) {
    throw UsageError("lab up", "there are remains of a lab \"" + name + "\"",
                     "shoal lab down first");
  }
}

void require_cores(const std::vector<HostSpec>& hosts) {
  const unsigned cores = std::thread::hardware_concurrency();
  for (const HostSpec& host : hosts) {
    if (host.cpu && *host.cpu > cores) {
      throw UsageError("lab --cpu",
                       fmt::format("{:g} cores a host, but there are {}", *host.cpu, cores));
    }
  }
}

}  // namespace

Lab make(const std::string& name, const std::vector<HostSpec>& hosts,
         const std::function<int()>& stop_signal) {
  const auto pause = [&] {
    if (const int signal = stop_signal(); signal != 0) throw Interrupted{signal};
  };
  require_cores(hosts);
  require_network(hosts);
  const Cgroups groups;
  const Lock lock;
  require_free(name, groups);

  Rollback rollback(name);
  Lab lab;
  lab.name = name;
  lab.subnet = free_subnet();
  for (const HostSpec& spec : hosts) lab.hosts.push_back({spec, {}});
  make_files(lab);

  std::vector<NewHost> made;
  const auto start = [&](const std::string& host, const HostSpec& spec) {
    pause();
    groups.make(name, host, spec);
    made.emplace_back(name, host);
    groups.enter(name, host, made.back().pid());
    made.back().build();
    return made.back().pid();
  };
  lab.network_switch.pid = start(switch_name, {});
  make_switch(lab);
  for (int i = 0; i < lab.size(); ++i) {
    Host& host = lab.hosts[static_cast<std::size_t>(i)];
    host.holder.pid = start(host_name(i), host.spec);
    connect(lab, i);
  }
  pause();
  lab.network_switch = made.front().stay();
  for (std::size_t i = 0; i < lab.hosts.size(); ++i) lab.hosts[i].holder = made[i + 1].stay();
  save(lab);
  rollback.dismiss();
  return lab;
}

bool remove(const std::string& name) {
  const Lock lock;
  const bool groups = Cgroups().remove(name);
  return forget(name) || groups;
}

}  // namespace shoal::launch::lab
