#include "network.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "inside.hpp"
#include "namespaces.hpp"
#include "process.hpp"

namespace shoal::launch::lab {
namespace {

constexpr const char* bridge = "lab";

std::string port(int index) { return "p" + std::to_string(index); }

// A program in the network of a holder.
std::vector<std::string> inside(const Holder& holder, std::vector<std::string> words) {
  std::vector<std::string> all{"nsenter", fmt::format("--net=/proc/{}/ns/net", holder.pid)};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

// Packets wait for up to 100 ms, so that eight senders to one host lose none.
std::string shaping(const std::string& device, const std::string& parent, std::uint64_t rate) {
  return fmt::format("qdisc add dev {} {} tbf rate {}bit burst {}b latency 100ms\n", device, parent,
                     rate, link_burst(rate));
}

// Packets on their way for `latency`: room for all that a link carries meanwhile.
std::string delay(const std::string& device, Seconds latency) {
  return fmt::format("qdisc add dev {} root handle 1: netem delay {}us limit 100000\n", device,
                     std::llround(latency.count() * 1e6));
}

// Whether a packet sent from here to `address` is answered within 100 ms, if only by a refusal.
bool answers(const std::string& address) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(9);  // discard: nobody listens, and it would not matter
  inet_pton(AF_INET, address.c_str(), &to.sin_addr);
  const Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return true;
  if (errno != EINPROGRESS) return errno == ECONNREFUSED;
  pollfd wait{fd.get(), POLLOUT, 0};
  if (poll(&wait, 1, 100) != 1) return false;
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
         (error == 0 || error == ECONNREFUSED);
}

}  // namespace

Bytes link_burst(std::uint64_t rate) {
  constexpr double seconds = 2e-3;
  constexpr Bytes packets = 5000;
  return std::max(packets, static_cast<Bytes>(static_cast<double>(rate) / 8 * seconds));
}

void require_network(const std::vector<HostSpec>& hosts) {
  for (const char* program : {"ip", "tc", "nsenter"}) {
    if (!program_exists(program)) {
      throw Error("lab up", std::string("there is no ") + program,
                  "apt-get install iproute2 util-linux");
    }
  }
  // In a network of nobody, gone with the program.
  const auto kernel_has = [](const std::string& batch) {
    return run_program({"unshare", "--net", "tc", "-batch", "-"}, batch).status == 0;
  };
  const auto any = [&](auto&& wish) { return std::any_of(hosts.begin(), hosts.end(), wish); };
  if (any([](const HostSpec& host) { return host.latency.count() > 0; }) &&
      !kernel_has(delay("lo", Seconds(1e-3)))) {
    throw Error("lab up --latency", "this kernel has no netem, which delays packets",
                "load sch_netem (CONFIG_NET_SCH_NETEM), or leave out --latency");
  }
  if (any([](const HostSpec& host) { return host.link.has_value(); }) &&
      !kernel_has(shaping("lo", "root", 1000000))) {
    throw Error("lab up --link", "this kernel has no tbf, which limits the speed of a link",
                "load sch_tbf (CONFIG_NET_SCH_TBF), or give --link none");
  }
}

void make_switch(const Lab& lab) {
  require_program("lab up: the switch", inside(lab.network_switch, {"ip", "-batch", "-"}),
                  fmt::format("link set lo up\n"
                              "link add {0} type bridge\n"
                              "link set {0} up\n",
                              bridge));
}

void connect(const Lab& lab, int index) {
  const Host& host = lab.hosts[static_cast<std::size_t>(index)];
  const std::string operation = "lab up: the link of " + host_name(index);
  require_program(operation, inside(lab.network_switch, {"ip", "-batch", "-"}),
                  fmt::format("link add {0} type veth peer name {1} netns {2}\n"
                              "link set {0} master {3}\n"
                              "link set {0} up\n",
                              port(index), host_interface, host.holder.pid, bridge));
  require_program(operation, inside(host.holder, {"ip", "-batch", "-"}),
                  fmt::format("link set lo up\n"
                              "addr add {}/24 dev {}\n"
                              "link set {} up\n",
                              lab.address(index), host_interface, host_interface));
  // The delay sits on the way out only: once on each way between two hosts.
  std::string outward;
  if (host.spec.latency.count() > 0) outward += delay(host_interface, host.spec.latency);
  if (host.spec.link) {
    outward += shaping(host_interface, outward.empty() ? "root" : "parent 1:1", *host.spec.link);
  }
  if (!outward.empty()) {
    require_program(operation, inside(host.holder, {"tc", "-batch", "-"}), outward);
  }
  if (host.spec.link) {
    require_program(operation, inside(lab.network_switch, {"tc", "-batch", "-"}),
                    shaping(port(index), "root", *host.spec.link));
  }
}

void set_link(const Lab& lab, int index, bool up) {
  const std::string operation = fmt::format("lab {} {}", up ? "heal" : "cut", host_name(index));
  require_program(operation, inside(lab.network_switch,
                                    {"ip", "link", "set", port(index), up ? "up" : "down"}));
  if (!up) return;
  // The kernel takes up to some seconds to let packets through again.
  constexpr std::chrono::seconds patience{10};
  const std::vector<bool> plugged = links_up(lab);
  const Host& host = lab.hosts[static_cast<std::size_t>(index)];
  Task task([&] {
    enter_network(host.holder);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (int other = 0; other < lab.size(); ++other) {
      if (other == index || !plugged[static_cast<std::size_t>(other)]) continue;
      while (!answers(lab.address(other))) {
        if (std::chrono::steady_clock::now() > deadline) return Task::Numbers{};
        poll(nullptr, 0, 20);
      }
    }
    return Task::Numbers{1};
  });
  if (task.result(patience + std::chrono::seconds(2)).empty()) {
    throw Error(operation, "no packet comes through after 10 s", "shoal lab down, then up again");
  }
}

std::vector<bool> links_up(const Lab& lab) {
  Task task([&] {
    enter_network(lab.network_switch);
    const Descriptor any_socket(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    Task::Numbers up;
    for (int i = 0; i < lab.size(); ++i) {
      ifreq request{};
      std::strncpy(request.ifr_name, port(i).c_str(), IFNAMSIZ - 1);
      const bool set =
          ioctl(any_socket.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
      up.push_back(set ? 1 : 0);
    }
    return up;
  });
  const Task::Numbers answers = task.result(Seconds(10));
  std::vector<bool> up(lab.hosts.size(), false);
  for (std::size_t i = 0; i < answers.size(); ++i) up[i] = answers[i] != 0;
  return up;
}

}  // namespace shoal::launch::lab
