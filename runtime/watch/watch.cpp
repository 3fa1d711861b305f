#include "watch/watch.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <random>
#include <vector>

#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/settings.hpp>

#include "process_state.hpp"
#include "watch/thread.hpp"

namespace shoal::watch {
namespace {

// What a rank tells the others at the start.
struct Offer {
  std::int32_t enabled = 0;
  std::uint16_t port = 0;
  std::uint64_t secret = 0;  // rank 0's counts
  ProcessId process;
  std::array<char, 256> addresses{};
};

// Not destroyed at the end of the process: one that calls exit() before the Runtime has ended must
// not take leave, but die for all to see.
std::unique_ptr<Thread>& running() {
  static auto* const instance = new std::unique_ptr<Thread>;
  return *instance;
}

std::atomic<Thread*> for_signals{nullptr};
bool handler_is_ours = false;

void on_sigterm(int) {
  if (Thread* thread = for_signals.load()) thread->note_sigterm();
}

// A program that handles SIGTERM itself keeps its handler.
void take_sigterm() {
  struct sigaction before {};
  if (sigaction(SIGTERM, nullptr, &before) != 0 || before.sa_handler != SIG_DFL) return;
  struct sigaction action {};
  action.sa_handler = on_sigterm;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  handler_is_ours = sigaction(SIGTERM, &action, nullptr) == 0;
}

void give_sigterm_back() {
  struct sigaction now {};
  if (handler_is_ours && sigaction(SIGTERM, nullptr, &now) == 0 && now.sa_handler == on_sigterm) {
    std::signal(SIGTERM, SIG_DFL);
  }
  handler_is_ours = false;
}

}  // namespace

void start(MPI_Comm world, const WorldTable& table) {
  int rank = 0;
  int size = 0;
  MPI_Comm_rank(world, &rank);
  MPI_Comm_size(world, &size);
  if (size == 1) return;
  Crew crew;
  crew.hosts = table.hosts;
  for (const int node : table.nodes) crew.leaders.push_back(node);

  Listener listener;
  Offer mine;
  mine.enabled = settings().watch ? 1 : 0;
  if (settings().watch && !crew.children_of(rank).empty()) {
    listener = listen_anywhere();
    const std::string text = own_addresses(mine.addresses.size() - 1);
    std::copy(text.begin(), text.end(), mine.addresses.begin());
  }
  mine.port = listener.port;
  mine.secret = static_cast<std::uint64_t>(std::random_device{}()) << 32 | std::random_device{}();
  mine.process = this_process();
  std::vector<Offer> offers(static_cast<std::size_t>(size));
  check_mpi(
      MPI_Allgather(&mine, sizeof mine, MPI_BYTE, offers.data(), sizeof mine, MPI_BYTE, world),
      "health watch");
  if (std::any_of(offers.begin(), offers.end(),
                  [](const Offer& offer) { return !offer.enabled; })) {
    return;
  }
  for (const Offer& offer : offers) {
    crew.processes.push_back(offer.process);
    crew.addresses.emplace_back(offer.addresses.data());
    crew.ports.push_back(offer.port);
  }
  crew.secret = std::to_string(offers.front().secret);
  running() = std::make_unique<Thread>(rank, std::move(crew), std::move(listener));
  for_signals = running().get();
  take_sigterm();
  running()->wait_until_connected();
}

void stop(bool together) noexcept {
  if (!running()) return;
  running()->stop(together);
  give_sigterm_back();
  for_signals = nullptr;
  running().reset();
}

void report(const std::string& text, int status) noexcept {
  if (running()) running()->report({Fault::Cause::error, process_rank(), text, status});
}

void leave_quietly() noexcept {
  if (running()) running()->leave_quietly();
}

}  // namespace shoal::watch
