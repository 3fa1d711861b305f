#include "calibrate.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <shoal/runtime/error.hpp>

#include "inside.hpp"
#include "namespaces.hpp"
#include "network.hpp"
#include "probe.hpp"

namespace shoal::launch::lab {
namespace {

constexpr Seconds cpu_time{0.8};
constexpr Seconds start_up{0.3};  // for all processes to be in their hosts before they compute
constexpr Seconds task_limit{60.0};
constexpr double good_enough = 0.9;

void measure_cpu(const Lab& lab, std::vector<Delivered>& all) {
  const double one_core = core_rate(Seconds(0.1));
  const double start = steady_now() + start_up.count();
  std::vector<Task> tasks;
  for (int i = 0; i < lab.size(); ++i) {
    const int threads = static_cast<int>(std::ceil(all[static_cast<std::size_t>(i)].cpu_asked));
    tasks.emplace_back([&lab, i, threads, start] {
      enter(lab, i);
      return Task::Numbers{host_rate(threads, start, cpu_time)};
    });
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const Task::Numbers rate = tasks[i].result(task_limit);
    if (!rate.empty()) all[i].cpu = rate[0] / one_core;
  }
}

// The fastest plugged-in host but this one; none: -1.
int peer_of(const Lab& lab, const std::vector<Delivered>& all, int host) {
  int best = -1;
  const auto speed = [&](int i) {
    return lab.hosts[static_cast<std::size_t>(i)].spec.link.value_or(~std::uint64_t{0});
  };
  for (int i = 0; i < lab.size(); ++i) {
    if (i == host || !all[static_cast<std::size_t>(i)].plugged) continue;
    if (best < 0 || speed(i) > speed(best)) best = i;
  }
  return best;
}

// A slow link takes longer to spend its burst, and to show a steady rate by a few packets.
LinkTimes times_for(const HostSpec& host) {
  LinkTimes times;
  if (host.link) {
    const auto rate = static_cast<double>(*host.link);
    constexpr double packets = 20 * 12000;
    times.skip =
        std::max(times.skip, Seconds(1.5 * 8 * static_cast<double>(link_burst(*host.link)) / rate));
    times.measure = std::max(times.measure, Seconds(packets / rate));
  }
  times.skip += 4 * host.latency;
  return times;
}

// Not in the hosts' control groups: this is the link alone, however few cores its hosts have.
void measure_link(const Lab& lab, int host, int peer, Delivered& delivered) {
  const LinkTimes times = times_for(lab.hosts[static_cast<std::size_t>(host)].spec);
  const std::string address = lab.address(peer);
  // The peer's socket is made in its network by a child, which tells the port before it answers.
  Pipe ports = make_pipe();
  Task answering([&] {
    enter_network(lab.hosts[static_cast<std::size_t>(peer)].holder);
    int port = 0;
    const Descriptor listener = listen_on(address, port);
    if (write(ports.in.get(), &port, sizeof port) != sizeof port) return Task::Numbers{};
    return Task::Numbers{link_answer(listener.get(), times).bits_per_s};
  });
  ports.in.reset();
  int port = 0;
  if (read(ports.out.get(), &port, sizeof port) != sizeof port) return;
  Task calling([&] {
    enter_network(lab.hosts[static_cast<std::size_t>(host)].holder);
    const LinkResult result = link_call(address, port, times);
    return Task::Numbers{result.bits_per_s, result.round_trip};
  });
  const Task::Numbers in = calling.result(task_limit);
  const Task::Numbers out = answering.result(task_limit);
  if (in.size() == 2) {
    delivered.in = in[0];
    delivered.latency = in[1] / 2;
  }
  if (!out.empty()) delivered.out = out[0];
}

std::string rate_text(double bits_per_s) {
  return bits_per_s > 0 ? fmt::format("{:.{}f}", bits_per_s * 1e-6, bits_per_s < 1e7 ? 2 : 0) : "-";
}

}  // namespace

std::vector<Delivered> calibrate(const Lab& lab) {
  lab.require_alive();
  const std::vector<bool> plugged = links_up(lab);
  const std::vector<double> asked =
      expected_cpu(lab.specs(), std::max(1u, std::thread::hardware_concurrency()));
  std::vector<Delivered> all(lab.hosts.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].cpu_asked = asked[i];
    all[i].plugged = plugged[i];
  }
  measure_cpu(lab, all);
  for (int i = 0; i < lab.size(); ++i) {
    Delivered& host = all[static_cast<std::size_t>(i)];
    const int peer = peer_of(lab, all, i);
    if (host.plugged && peer >= 0) measure_link(lab, i, peer, host);
  }
  return all;
}

void print_calibration(const Lab& lab, const std::vector<Delivered>& delivered) {
  bool short_of = false;
  const auto mark = [&](double got, double asked) {
    const bool falls_short = got < good_enough * asked;
    short_of = short_of || falls_short;
    return falls_short ? "!" : " ";
  };
  fmt::print("{:<6}{:>10} {:>8}  {:>11} {:>10} {:>10}  {:>10}\n", "", "cpu", "", "link Mbit/s", "",
             "", "latency");
  fmt::print("{:<6}{:>10} {:>8}  {:>11} {:>10} {:>10}  {:>10}\n", "host", "asked", "got", "asked",
             "out", "in", "us");
  for (int i = 0; i < lab.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Delivered& host = delivered[at];
    const auto& link = lab.hosts[at].spec.link;
    const double asked = link ? static_cast<double>(*link) : 0;
    const bool measured = host.latency > 0;
    fmt::print("{:<6}{:>10.2f} {:>8.2f}{} {:>11} {:>10}{} {:>9}{} {:>10}\n", host_name(i),
               host.cpu_asked, host.cpu, mark(host.cpu, host.cpu_asked),
               link ? rate_text(asked) : "unlimited", host.plugged ? rate_text(host.out) : "cut",
               measured ? mark(host.out, asked) : " ", host.plugged ? rate_text(host.in) : "cut",
               measured ? mark(host.in, asked) : " ",
               measured ? fmt::format("{:.0f}", host.latency * 1e6) : "-");
  }
  if (short_of) fmt::print("! more than a tenth below what was asked: is the machine busy?\n");
}

void write_calibration(const Lab& lab, const std::vector<Delivered>& delivered,
                       const std::string& file) {
  nlohmann::ordered_json json{{"lab", lab.name}};
  const auto number = [](double value) {
    return value > 0 ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
  };
  for (int i = 0; i < lab.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    const Delivered& host = delivered[at];
    const HostSpec& spec = lab.hosts[at].spec;
    json["hosts"].push_back(
        {{"host", host_name(i)},
         {"address", lab.address(i)},
         {"plugged_in", host.plugged},
         {"cpu_asked", host.cpu_asked},
         {"cpu", host.cpu},
         {"link_asked_bits_per_s", number(spec.link ? static_cast<double>(*spec.link) : 0)},
         {"out_bits_per_s", number(host.out)},
         {"in_bits_per_s", number(host.in)},
         {"latency_asked_s", spec.latency.count()},
         {"latency_s", number(host.latency)}});
  }
  std::ofstream out(file);
  out << json.dump(2) << '\n';
  out.close();
  if (!out) {
    throw UsageError("lab --json", file + ": " + std::strerror(errno),
                     "give a file in a folder that exists");
  }
}

}  // namespace shoal::launch::lab
