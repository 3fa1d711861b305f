#include <shoal/runtime/runtime.hpp>

#include <mpi.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/signals_held.hpp>
#include <shoal/runtime/topology.hpp>
#include <shoal/runtime/trace.hpp>
#include <shoal/runtime/wait.hpp>

#include "absent_networks.hpp"
#include "communicator_impl.hpp"
#include "mpi_wait.hpp"
#include "node_cpus.hpp"
#include "node_memory_lifetime.hpp"
#include "process_state.hpp"
#include "start_alarm.hpp"
#include "tuning_file.hpp"
#include "watch/watch.hpp"

namespace shoal {
namespace {

bool runtime_alive = false;
int compute_threads = 1;

int to_mpi(ThreadLevel level) {
  switch (level) {
    case ThreadLevel::single: return MPI_THREAD_SINGLE;
    case ThreadLevel::funneled: return MPI_THREAD_FUNNELED;
    case ThreadLevel::serialized: return MPI_THREAD_SERIALIZED;
    case ThreadLevel::multiple: return MPI_THREAD_MULTIPLE;
  }
  return MPI_THREAD_SINGLE;
}

ThreadLevel from_mpi(int level) {
  if (level >= MPI_THREAD_MULTIPLE) return ThreadLevel::multiple;
  if (level >= MPI_THREAD_SERIALIZED) return ThreadLevel::serialized;
  if (level >= MPI_THREAD_FUNNELED) return ThreadLevel::funneled;
  return ThreadLevel::single;
}

const char* name_of(ThreadLevel level) {
  switch (level) {
    case ThreadLevel::single: return "single";
    case ThreadLevel::funneled: return "funneled";
    case ThreadLevel::serialized: return "serialized";
    case ThreadLevel::multiple: return "multiple";
  }
  return "?";
}

void print_failure(const std::string& text) {
  std::fprintf(stderr, "shoal: %s\n", text.c_str());
  std::fflush(stderr);
}

// Who shares a node with whom, and their host names. Before the watch runs, mpirun ends the run when a
// rank dies, and StartAlarm when one does not come.
std::shared_ptr<WorldTable> make_world_table(MPI_Comm world, MPI_Comm node) {
  auto table = std::make_shared<WorldTable>();
  check_mpi(MPI_Comm_group(world, &table->group), "runtime");
  int size = 0;
  int rank = 0;
  MPI_Comm_size(world, &size);
  MPI_Comm_rank(world, &rank);
  int place[2] = {rank, 0};  // the node's first world rank stands for the node
  MPI_Comm_rank(node, &place[1]);
  check_mpi(MPI_Bcast(&place[0], 1, MPI_INT, 0, node), "runtime");
  std::vector<int> places(2 * static_cast<std::size_t>(size));
  check_mpi(MPI_Allgather(place, 2, MPI_INT, places.data(), 2, MPI_INT, world), "runtime");

  constexpr int most = MPI_MAX_PROCESSOR_NAME;
  std::array<char, most> host{};
  int length = 0;
  MPI_Get_processor_name(host.data(), &length);
  std::vector<char> hosts(static_cast<std::size_t>(size) * most);
  check_mpi(MPI_Allgather(host.data(), most, MPI_CHAR, hosts.data(), most, MPI_CHAR, world),
            "runtime");
  for (int i = 0; i < size; ++i) {
    const auto at = static_cast<std::size_t>(i);
    table->hosts.emplace_back(hosts.data() + at * most);
    table->nodes.push_back(places[2 * at]);
    table->node_ranks.push_back(places[2 * at + 1]);
  }
  return table;
}

// Ranks that share memory. SHOAL_NODES divides them further.
MPI_Comm ranks_of_this_node(MPI_Comm world) {
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node),
            "start MPI");
  const std::vector<int>& ranks_of = settings().nodes;
  if (ranks_of.empty()) return node;
  int left = 0;
  MPI_Comm_rank(world, &left);
  int number = 0;
  for (std::size_t i = 0; left >= ranks_of[i]; i = (i + 1) % ranks_of.size()) {
    left -= ranks_of[i];
    ++number;
  }
  MPI_Comm part = MPI_COMM_NULL;
  const int code = MPI_Comm_split(node, number, 0, &part);
  MPI_Comm_free(&node);
  check_mpi(code, "runtime");
  return part;
}

void write_trace(const Communicator& world, const std::string& file) {
  constexpr int tag = 1;
  constexpr std::uint64_t most = 1 << 30;
  const MPI_Comm comm = mpi_handle(world);
  std::string mine = trace::events_json(world.rank());
  if (world.rank() != 0) {
    std::uint64_t length = mine.size();
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Isend(&length, 1, MPI_UINT64_T, 0, tag, comm, &request), "trace");
    wait_for(request, "trace", "rank 0");
    for (std::uint64_t at = 0; at < length; at += most) {
      const int count = static_cast<int>(std::min(most, length - at));
      check_mpi(MPI_Isend(mine.data() + at, count, MPI_CHAR, 0, tag, comm, &request), "trace");
      wait_for(request, "trace", "rank 0");
    }
    return;
  }
  std::ofstream out(file, std::ios::binary);
  out << "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" << mine;
  for (Rank peer = 1; peer < world.size(); ++peer) {
    const std::string whom = "rank " + std::to_string(peer) + " on " + world.host_of(peer);
    std::uint64_t length = 0;
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Irecv(&length, 1, MPI_UINT64_T, peer, tag, comm, &request), "trace");
    wait_for(request, "trace", whom);
    std::string theirs(length, '\0');
    for (std::uint64_t at = 0; at < length; at += most) {
      const int count = static_cast<int>(std::min(most, length - at));
      check_mpi(MPI_Irecv(theirs.data() + at, count, MPI_CHAR, peer, tag, comm, &request), "trace");
      wait_for(request, "trace", whom);
    }
    out << ",\n" << theirs;
  }
  out << "\n]}\n";
  out.close();
  if (!out) {
    log::error("trace: cannot write " + file + "; see whether the folder exists and has room");
  }
}

// Threads each rank computes with: the cores it is bound to, shared with those bound to the same.
int threads_for(const NodeCpus& cpus) {
  int threads = cpus.own_cores / std::max(1, cpus.ranks_with_same);
  if (cpus.quota > 0) {
    threads = std::min(threads, static_cast<int>(std::ceil(cpus.quota / cpus.ranks)));
  }
  return std::max(1, threads);
}

// OpenMP's threads start here.
void start_compute_threads() {
  const SignalsHeld held;
#pragma omp parallel
  {
  }
}

}  // namespace

struct Runtime::Impl {
  Options options;
  bool owns_mpi = false;
  ThreadLevel granted = ThreadLevel::single;
  int exceptions_at_start = 0;
  std::unique_ptr<Communicator> world;
  std::unique_ptr<Communicator> control;  // for the last words of failing ranks
  std::shared_ptr<WorldTable> table;
};

Runtime::Runtime() : Runtime(Options{}) {}

Runtime::Runtime(const Options& options) : impl_(std::make_unique<Impl>()) {
  require_own_process("runtime");
  if (runtime_alive) {
    throw Error("runtime", "this process already has a shoal::Runtime", "make only one at a time");
  }
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized) {
    throw Error("runtime", "MPI has ended in this process, where it starts only once",
                "keep one Runtime until the end, or initialise MPI yourself before the first");
  }
  note_forks();
  settings();  // a variable without sense is refused before anything begins
  std::optional<StartAlarm> alarm;
  if (!options.guest) alarm.emplace();
  impl_->options = options;
  impl_->exceptions_at_start = std::uncaught_exceptions();
  int initialized = 0;
  MPI_Initialized(&initialized);
  int granted = MPI_THREAD_SINGLE;
  const int wanted = to_mpi(options.threads.value_or(
      settings().background ? ThreadLevel::multiple : ThreadLevel::funneled));
  if (!initialized) {
    const AbsentNetworksLeftOut quick;
    check_mpi(MPI_Init_thread(nullptr, nullptr, wanted, &granted), "start MPI");
    impl_->owns_mpi = true;
  } else {
    MPI_Query_thread(&granted);
  }
  impl_->granted = from_mpi(granted);
  if (options.threads && granted < wanted) {
    const Error error("start MPI",
                      std::string("MPI grants thread level ") + name_of(impl_->granted) + ", " +
                          name_of(*options.threads) + " was asked for",
                      "initialise MPI with that level, or ask for less");
    if (impl_->owns_mpi) MPI_Finalize();
    throw error;
  }

  MPI_Comm world = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &world), "start MPI");
  MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
  MPI_Comm node = ranks_of_this_node(world);
  impl_->table = make_world_table(world, node);
  set_current_world_table(impl_->table);
  impl_->world = std::make_unique<Communicator>(
      std::make_unique<Communicator::Impl>(world, "world", impl_->table));
  impl_->control = std::make_unique<Communicator>(impl_->world->duplicate("control"));
  const Communicator& all = *impl_->world;
  set_process_identity(all.rank(), all.host_of(all.rank()));
  set_process_rank(all.rank());
  if (!options.guest) watch::start(world, *impl_->table);

  const NodeCpus cpus = node_cpus(all);
  compute_threads = threads_for(cpus);
  if (!options.guest) {
    if (std::getenv("OMP_NUM_THREADS") == nullptr) {
      omp_set_num_threads(compute_threads);
    } else {
      compute_threads = omp_get_max_threads();
    }
    start_compute_threads();
  }
  set_waits_unbounded(options.guest && !settings().timeout_given);
  set_node_threads(cpus.numbers);
  set_ranks_per_thread(cpus.crowding);
  set_ranks_own_their_cores(cpus.ranks_in_all <= cpus.all &&
                            (cpus.quota == 0 || cpus.quota >= cpus.ranks));
  node_memory::start(node, impl_->table);
  MPI_Comm_free(&node);
  share_tuning_file(all);
  set_mpi_progress(granted > MPI_THREAD_FUNNELED ? MpiProgress::any_thread
                                                 : MpiProgress::main_thread);
  runtime_alive = true;
  if (!options.trace_file.empty()) {
    // Leaving a barrier is the moment that the clocks of all hosts have in common.
    check_mpi(MPI_Barrier(world), "trace");
    trace::start();
  }
}

Runtime::~Runtime() {
  if (is_forked_child()) {
    static_cast<void>(impl_.release());  // all of it is the parent's
    return;
  }
  if (impl_->options.abort_on_unwind && std::uncaught_exceptions() > impl_->exceptions_at_start) {
    const std::string text = "an exception leaves the program, the run is aborted";
    watch::report(text, 1);
    print_failure(process_identity() + ": " + text);
    abort(1);
  }
  if (!impl_->options.trace_file.empty()) {
    try {
      write_trace(*impl_->world, impl_->options.trace_file);
    } catch (const std::exception& error) {
      log::error(error.what());
    }
  }
  impl_->control.reset();
  impl_->world.reset();
  node_memory::stop();
  set_current_world_table(nullptr);
  set_process_rank(-1);
  MPI_Group_free(&impl_->table->group);
  runtime_alive = false;
  set_mpi_progress(MpiProgress::none);
  // MPI_Finalize waits for all ranks, without a deadline: the watch must outlive it.
  if (impl_->owns_mpi) MPI_Finalize();
  watch::stop(impl_->owns_mpi);
}

const Communicator& Runtime::world() const noexcept { return *impl_->world; }
const Communicator& Runtime::control() const noexcept { return *impl_->control; }
ThreadLevel Runtime::threads() const noexcept { return impl_->granted; }
bool Runtime::owns_mpi() const noexcept { return impl_->owns_mpi; }

std::string Runtime::mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string library(text, static_cast<std::size_t>(length));
  // Both Open MPI and MPICH put name and number first and the build's details behind.
  library = library.substr(0, library.find_first_of(",\n"));
  for (char& c : library) {
    if (c == '\t') c = ' ';
  }
  int version = 0;
  int subversion = 0;
  MPI_Get_version(&version, &subversion);
  return library + ", MPI " + std::to_string(version) + "." + std::to_string(subversion);
}

void Runtime::abort(int status) noexcept {
  if (is_forked_child()) std::_Exit(status);
  watch::leave_quietly();
  std::fflush(nullptr);
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized && !finalized) MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

int default_compute_threads() { return runtime_alive ? compute_threads : omp_get_max_threads(); }

namespace {

// Ranks that fail together (the same bad flag, the same missing file) say so once and end in order.
// Returns the ranks' agreement: whether all arrived here within a moment, and with the same words.
enum class Agreement { none, all_failed, same_words };

Agreement agree_on_failure(const Communicator& control, const std::string& message) {
  constexpr Seconds patience{2.0};
  std::uint64_t hash = std::hash<std::string>{}(message);
  std::vector<std::uint64_t> hashes(static_cast<std::size_t>(control.size()));
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Iallgather(&hash, 1, MPI_UINT64_T, hashes.data(), 1, MPI_UINT64_T, mpi_handle(control),
                     &request) != MPI_SUCCESS) {
    return Agreement::none;
  }
  const double deadline = MPI_Wtime() + patience.count();
  int done = 0;
  while (!done) {
    if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return Agreement::none;
    if (done) break;
    if (MPI_Wtime() > deadline) return Agreement::none;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  const bool same = std::all_of(hashes.begin(), hashes.end(),
                                [&](std::uint64_t other) { return other == hash; });
  return same ? Agreement::same_words : Agreement::all_failed;
}

// The Runtime could not be made for a setting that has no sense, which most likely all ranks have
// alike: rank 0 speaks, the others only if it has not ended the run in a moment.
[[noreturn]] void refuse(const UsageError& error) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  int rank = 0;
  if (initialized || MPI_Init(nullptr, nullptr) == MPI_SUCCESS) {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  }
  if (rank != 0) std::this_thread::sleep_for(std::chrono::seconds(1));
  print_failure(error.message());
  Runtime::abort(2);
}

}  // namespace

int run_main(const Runtime::Options& options, const std::function<int(Runtime&)>& body) {
  std::unique_ptr<Runtime> runtime;
  try {
    runtime = std::make_unique<Runtime>(options);
  } catch (const UsageError& error) {
    refuse(error);
  } catch (const std::exception& error) {
    print_failure(error.what());
    Runtime::abort(1);
  }
  int status = 1;
  std::string text;
  std::string message;
  try {
    return body(*runtime);
  } catch (const Error& error) {
    status = dynamic_cast<const UsageError*>(&error) != nullptr ? 2 : 1;
    text = error.what();
    message = error.message();
  } catch (const std::bad_alloc&) {
    message = "memory is exhausted; give each rank more, or spread the run over more hosts";
    text = process_identity() + ": " + message;
  } catch (const std::exception& error) {
    message = error.what();
    text = process_identity() + ": " + message;
  }
  if (is_forked_child()) {
    print_failure(text);
    return status;
  }
  // What the user did wrong is the same on all ranks, and they end in order. Anything else is known
  // at once to the watch, which also tells whether all have failed alike.
  std::fflush(stdout);
  if (status != 2) watch::report(message, status);
  const Communicator& world = runtime->world();
  switch (agree_on_failure(runtime->control(), message)) {
    case Agreement::same_words:
      if (world.rank() == 0) print_failure(message);
      return status;
    case Agreement::all_failed:
      print_failure(text);
      return status;
    case Agreement::none: break;
  }
  watch::report(message, status);
  print_failure(text);
  Runtime::abort(status);
}

}  // namespace shoal
