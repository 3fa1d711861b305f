#include "collectives/peers.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/wait.hpp>

#include "collectives/child.hpp"
#include "peer_sources.hpp"
#include "report.hpp"

namespace shoal::bench {
namespace {

namespace fs = std::filesystem;

// The others wait for rank 0 while a peer runs, so the peer has to be quicker than they are patient.
Seconds patience() { return 0.8 * wait_timeout(); }

std::vector<std::string> words_of(const PeerTask& task) {
  std::vector<std::string> words = {std::string(name_of(task.operation)),
                                    std::string(name_of(task.type)), std::string(name_of(task.op)),
                                    fmt::format("{}", task.seconds_per_size)};
  for (const Bytes size : task.sizes) words.push_back(std::to_string(size));
  return words;
}

std::map<Bytes, double> times_in(const std::string& output) {
  std::map<Bytes, double> times;
  std::istringstream lines(output);
  Bytes bytes = 0;
  double seconds = 0;
  while (lines >> bytes >> seconds) times[bytes] = seconds;
  return times;
}

// A folder of this process that goes with the object.
class Scratch {
 public:
  Scratch() {
    std::string path = (fs::temp_directory_path() / "shoal-bench-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) throw Error("bench", "no folder for temporary files");
    path_ = path;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string put(const char* name, const char* text) const {
    std::ofstream(path_ / name) << text;
    return path_ / name;
  }
  std::string path(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

int free_port() {
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  int port = 0;
  if (bind(socket_fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
      getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
    port = ntohs(address.sin_port);
  }
  close(socket_fd);
  return port;
}

// Every rank starts a process of its own, where it is bound; they find each other by TCP.
class Gloo final : public Peer {
 public:
  Gloo(const Communicator& world, std::string python, std::string version)
      : world_(world), python_(std::move(python)), version_(std::move(version)) {
    script_ = scratch_.put("gloo_peer.py", gloo_peer_source);
  }
  std::string name() const override { return "Gloo"; }
  std::string title() const override { return "Gloo (PyTorch " + version_ + ")"; }
  std::map<Bytes, double> time(const PeerTask& task) override {
    std::int64_t port = world_.rank() == 0 ? free_port() : 0;
    broadcast(world_, &port, 1, DType::i64, 0);
    std::vector<std::string> command = {python_, script_, std::to_string(world_.rank()),
                                        std::to_string(world_.size()),
                                        world_.on_one_node() ? "127.0.0.1" : world_.host_of(0),
                                        std::to_string(port)};
    for (std::string& word : words_of(task)) command.push_back(std::move(word));
    return times_in(run_child(command, patience(), false).output);
  }

 private:
  const Communicator& world_;
  std::string python_, version_, script_;
  Scratch scratch_;
};

// One launch by rank 0, over as many processes on this node.
class OtherMpi final : public Peer {
 public:
  OtherMpi(const Communicator& world, std::string version)
      : world_(world), version_(std::move(version)) {}
  std::string name() const override { return "MPICH"; }
  std::string title() const override { return version_; }
  /// Empty, or why not. On rank 0.
  std::string build() {
    const std::string source = scratch_.put("mpi_peer.cpp", mpi_peer_source);
    program_ = scratch_.path("mpi_peer");
    const ChildResult built = run_child(
        {"mpicxx.mpich", "-std=c++17", "-O2", "-o", program_, source}, patience(), true);
    return built.good ? "" : "mpicxx.mpich: " + built.problem;
  }
  std::map<Bytes, double> time(const PeerTask& task) override {
    std::map<Bytes, double> times;
    // Nobody computes before it has ended, which may take minutes: who waits hears that rank 0
    // does, too.
    std::int64_t ended = 0;
    if (world_.rank() != 0) {
      while (ended == 0) broadcast(world_, &ended, 1, DType::i64, 0);
    } else {
      std::vector<std::string> command = {"mpirun.mpich", "-n", std::to_string(world_.size())};
      if (ranks_own_their_cores()) command.insert(command.end(), {"-bind-to", "core"});
      command.push_back(program_);
      for (std::string& word : words_of(task)) command.push_back(std::move(word));
      const auto tell = [&] { broadcast(world_, &ended, 1, DType::i64, 0); };
      times = times_in(run_child(command, patience(), true, tell).output);
      ended = 1;
      tell();
    }
    return times;
  }

 private:
  const Communicator& world_;
  std::string version_, program_;
  Scratch scratch_;
};

std::unique_ptr<Peer> find_gloo(const Communicator& world, std::string& why_not) {
  // Whether rank 0 has it is taken for whether all have: those that lack it end at once, and the
  // others after a minute.
  std::string python;
  std::string version;
  if (world.rank() == 0) {
    for (const char* candidate : {"python3", "/usr/bin/python3"}) {
      const ChildResult asked =
          run_child({candidate, "-c", "import torch, torch.distributed as d\n"
                                      "assert d.is_gloo_available()\nprint(torch.__version__)"},
                    patience(), true);
      if (!asked.good) {
        why_not = asked.problem;
        continue;
      }
      python = candidate;
      version = asked.output.substr(0, asked.output.find('\n'));
      break;
    }
  }
  python = broadcast_text(world, python);
  version = broadcast_text(world, version);
  if (python.empty()) return nullptr;
  return std::make_unique<Gloo>(world, python, version);
}

std::unique_ptr<Peer> find_mpich(const Communicator& world, std::string& why_not) {
  if (!world.on_one_node()) {
    why_not = "its launcher would need to reach the other nodes: it is compared on one node only";
    return nullptr;
  }
  std::string version;
  std::unique_ptr<OtherMpi> made;
  if (world.rank() == 0) {
    const ChildResult asked = run_child({"mpichversion"}, patience(), true);
    std::istringstream words(asked.output);  // "MPICH Version:    4.0.2"
    std::string word;
    words >> word >> word >> word;
    made = std::make_unique<OtherMpi>(world, "MPICH " + word);
    why_not = made->build();
    if (why_not.empty()) version = "MPICH " + word;
  }
  version = broadcast_text(world, version);
  if (version.empty()) return nullptr;
  if (!made) made = std::make_unique<OtherMpi>(world, version);
  return made;
}

}  // namespace

std::vector<std::unique_ptr<Peer>> find_peers(const Communicator& world,
                                              const std::vector<std::string>& names) {
  const auto asked = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& name : names) {
    if (name == "gloo" || name == "mpich" || name == "auto" || name == "none" ||
        name == "forced") {
      continue;  // the last is no program: see forced.hpp
    }
    throw UsageError("--peers", "there is no peer '" + name + "'",
                     "choose of gloo, mpich, forced, auto, none");
  }
  std::vector<std::unique_ptr<Peer>> peers;
  const auto look = [&](const char* name, auto find) {
    if (!asked(name) && !asked("auto")) return;
    std::string why_not;
    std::unique_ptr<Peer> peer = find(world, why_not);
    if (peer) {
      peers.push_back(std::move(peer));
      return;
    }
    why_not = broadcast_text(world, why_not);
    if (asked(name)) throw UsageError("--peers " + std::string(name), why_not);
    log::info("bench: no " + std::string(name) + " to compare with: " + why_not);
  };
  look("gloo", find_gloo);
  look("mpich", find_mpich);
  return peers;
}

}  // namespace shoal::bench
