#include "status.hpp"

#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cgroup.hpp"
#include "network.hpp"

namespace shoal::launch::lab {
namespace {

std::string cpu_text(const std::optional<double>& cpu) {
  return cpu ? fmt::format("{:g} core{}", *cpu, *cpu == 1 ? "" : "s") : "even share";
}

std::string memory_text(const std::optional<Bytes>& memory) {
  return memory ? fmt::format("{:g} MiB", static_cast<double>(*memory >> 10) / 1024) : "unlimited";
}

template <class T>
nlohmann::ordered_json json_of(const std::optional<T>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

std::vector<HostStatus> status_of(const Lab& lab) {
  const Cgroups groups;
  const std::vector<bool> plugged =
      lab.network_switch.alive() ? links_up(lab) : std::vector<bool>(lab.hosts.size(), false);
  std::vector<HostStatus> hosts;
  for (int i = 0; i < lab.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const bool held = lab.hosts[at].holder.alive();
    const std::size_t all = groups.processes(lab.name, host_name(i)).size();
    hosts.push_back({!held         ? "gone"
                     : plugged[at] ? "up"
                                   : "cut",
                     all - (held && all > 0 ? 1 : 0)});
  }
  return hosts;
}

void print_status(const Lab& lab, const std::vector<HostStatus>& hosts) {
  fmt::print("lab {}: {} host{}\n", lab.name, lab.size(), lab.size() == 1 ? "" : "s");
  fmt::print("{:<6} {:<14} {:<6} {:<12} {:<14} {:<10} {:>9}\n", "host", "address", "state", "cpu",
             "link", "memory", "processes");
  for (int i = 0; i < lab.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const HostSpec& spec = lab.hosts[at].spec;
    fmt::print("{:<6} {:<14} {:<6} {:<12} {:<14} {:<10} {:>9}\n", host_name(i), lab.address(i),
               hosts[at].state, cpu_text(spec.cpu), link_text(spec.link), memory_text(spec.memory),
               hosts[at].processes);
  }
  if (!lab.network_switch.alive()) {
    fmt::print("the switch is gone: shoal lab down, then up again\n");
  }
}

void print_status_json(const Lab& lab, const std::vector<HostStatus>& hosts) {
  nlohmann::ordered_json json{{"lab", lab.name}, {"switch_alive", lab.network_switch.alive()}};
  for (int i = 0; i < lab.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const HostSpec& spec = lab.hosts[at].spec;
    json["hosts"].push_back({{"host", host_name(i)},
                             {"address", lab.address(i)},
                             {"state", hosts[at].state},
                             {"cpu", json_of(spec.cpu)},
                             {"link_bits_per_s", json_of(spec.link)},
                             {"memory_bytes", json_of(spec.memory)},
                             {"latency_s", spec.latency.count()},
                             {"processes", hosts[at].processes}});
  }
  fmt::print("{}\n", json.dump(2));
}

}  // namespace shoal::launch::lab
