#include "checks.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace shoal::launch {
namespace {

using Json = nlohmann::ordered_json;

constexpr double mib = 1 << 20;
constexpr double smallest_shm = 256 * mib;       // Docker's default of 64 MiB is too small for MPI
constexpr double smallest_memlock = 1024 * mib;  // registered buffers of an RDMA network
constexpr double smallest_free = 512 * mib;
constexpr double clock_apart = 0.05, clock_wrong = 1.0;  // logs in a wrong order; tokens expired

struct Judge {
  const std::string& host;
  std::vector<Check> checks;
  void add(const char* name, Mark mark, std::string text, std::string cure = "") {
    checks.push_back({name, mark, std::move(text), host, std::move(cure)});
  }
};

void judge_software(Judge& judge, const Json& facts, const Json& first) {
  for (const auto& [key, name] : {std::pair("shoal", "Shoal"), std::pair("mpi", "MPI")}) {
    const std::string mine = facts.value(key, "");
    const bool same = mine == first.value(key, "");
    judge.add(name, same ? Mark::good : Mark::bad, mine,
              same ? "" : "install the same version on every host");
  }
}

void judge_memory(Judge& judge, const Json& facts) {
  const double shm = facts.value("shm_bytes", 0.0);
  const bool enough = shm >= smallest_shm;
  judge.add("shared memory", enough ? Mark::good : Mark::bad, bytes_in_words(shm) + " in /dev/shm",
            enough ? "" : "mount -o remount,size=50% /dev/shm; in Docker: --shm-size=2g");
  const std::string pages = facts.value("huge_pages", "");
  const bool small_pages = pages == "never" || pages == "deny";
  judge.add("huge pages", small_pages ? Mark::advice : Mark::good,
            pages.empty() ? "the kernel does not tell" : pages + " for shared memory",
            small_pages ? "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled (faster)"
                        : "");
  const double locked = facts.value("memlock_bytes", 0.0);
  const bool unlimited = locked < 0;
  const bool rdma = facts.value("infiniband", false);
  const bool lockable = unlimited || locked >= smallest_memlock;
  judge.add(
      "locked memory", lockable || !rdma ? Mark::good : Mark::bad,
      unlimited ? "no limit"
                : "at most " + bytes_in_words(locked) + (rdma ? "" : ", enough without RDMA"),
      lockable || !rdma ? "" : "ulimit -l unlimited, or memlock in /etc/security/limits.conf");
  const double available = facts.value("free_bytes", 0.0);
  const double total = facts.value("memory_bytes", 0.0);
  const bool room = available >= smallest_free;
  judge.add("free memory", room ? Mark::good : Mark::bad,
            fmt::format("{} of {}", bytes_in_words(available), bytes_in_words(total)),
            room ? "" : "end what else runs there");
}

void judge_processor(Judge& judge, const Json& facts, const Json& first) {
  const int cores = facts.value("usable_cores", 0);
  const int threads = facts.value("threads", 0);
  const int usable = facts.value("usable_threads", 0);
  const double quota = facts.value("cpu_quota", 0.0);
  if (quota > 0 && quota < facts.value("cores", 0)) {
    judge.add("cores", Mark::advice,
              fmt::format("{:.2g} of {} by quota", quota, facts.value("cores", 0)),
              "raise the cgroup's CPU quota: waits of MPI use it up");
  } else if (usable < threads) {
    judge.add("cores", Mark::advice, fmt::format("bound to {} of {} threads", usable, threads),
              "start it without taskset, or ask the batch system for the whole node");
  } else {
    judge.add("cores", Mark::good, fmt::format("{} to bind to, no quota", cores));
  }
  const std::string governor = facts.value("governor", "");
  const bool saving = governor == "powersave" || governor == "conservative";
  judge.add("CPU governor", saving ? Mark::advice : Mark::good,
            governor.empty() ? "the kernel does not tell (a virtual machine?)" : governor,
            saving ? "cpupower frequency-set -g performance" : "");
  const std::string isa = facts.value("isa", "");
  const bool same = isa == first.value("isa", "");
  judge.add("instructions", same ? Mark::good : Mark::advice, isa,
            same ? "" : "works; but the slowest host sets the pace, and bits may differ");
}

void judge_network(Judge& judge, const Json& facts) {
  const double ahead = facts.value("clock_ahead_s", 0.0);
  const double error = facts.value("clock_error_s", 0.0);
  const double off = std::max(0.0, std::abs(ahead) - error);
  const Mark mark = off > clock_wrong ? Mark::bad : off > clock_apart ? Mark::advice : Mark::good;
  judge.add("clock", mark,
            mark == Mark::good
                ? fmt::format("within {:.0f} ms of the first host", 1e3 * clock_apart)
                : fmt::format("{:.3f} s {} the first host", std::abs(ahead),
                              ahead > 0 ? "ahead of" : "behind"),
            mark == Mark::good ? "" : "run chrony or systemd-timesyncd on every host");
  if (!facts.contains("interface")) return;
  const std::string problem = facts.value("route_problem", "");
  const std::string interface = facts.value("interface", "");
  const std::string address = facts.value("address", "");
  if (!problem.empty()) {
    // The ranks have found each other all the same: mpirun goes by addresses.
    judge.add("network", Mark::advice, problem, "make the names of all hosts known on all hosts");
  } else if (address.rfind("127.", 0) == 0 || address == "::1") {
    judge.add("network", Mark::bad, "the way to the other hosts is " + address,
              "take their names off the 127.x line in /etc/hosts");
  } else {
    const std::string speed = facts.value("speed", "");
    judge.add("network", Mark::good,
              fmt::format("{} ({}{}{})", interface, address, speed.empty() ? "" : ", ", speed));
  }
}

double median_of(const Json& pairs, const char* key) {
  std::vector<double> values;
  for (const Json& pair : pairs) values.push_back(pair.at(key).get<double>());
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

std::string bytes_in_words(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, bytes < 10 && unit > 0 ? 1 : 0, units[unit]);
}

std::vector<Check> judge_host(const std::string& host, const Json& facts, const Json& first) {
  Judge judge{host, {}};
  judge_software(judge, facts, first);
  judge_memory(judge, facts);
  judge_processor(judge, facts, first);
  judge_network(judge, facts);
  return judge.checks;
}

std::vector<Check> judge_pairs(const Json& pairs, const std::vector<std::string>& hosts) {
  std::vector<Check> checks;
  if (pairs.empty()) return checks;
  const double latency = median_of(pairs, "latency_s");
  const double bandwidth = median_of(pairs, "bytes_per_second");
  constexpr double slow_factor = 1.5;
  for (const Json& pair : pairs) {
    const double alpha = pair.at("latency_s").get<double>();
    const double rate = pair.at("bytes_per_second").get<double>();
    const bool slow = alpha > slow_factor * latency || rate < bandwidth / slow_factor;
    checks.push_back(
        {"pair", slow ? Mark::advice : Mark::good,
         fmt::format("{:8.1f} us {:8.1f} MB/s{}", 1e6 * alpha, 1e-6 * rate, slow ? "  slow" : ""),
         fmt::format("{} - {}", hosts.at(pair.at("a").get<std::size_t>()),
                     hosts.at(pair.at("b").get<std::size_t>())),
         slow ? fmt::format("the median is {:.1f} us, {:.1f} MB/s: see cable, port and "
                            "load of these hosts",
                            1e6 * latency, 1e-6 * bandwidth)
              : ""});
  }
  return checks;
}

}  // namespace shoal::launch
