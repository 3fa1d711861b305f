// Start and end: after the program's MPI_Init, before its MPI_Finalize.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string_view>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/settings.hpp>

#include "preload/allocate.hpp"
#include "preload/groups.hpp"
#include "preload/lend.hpp"
#include "preload/preload.hpp"
#include "preload/report.hpp"
#include "preload/requests.hpp"
#include "preload/types.hpp"

namespace shoal::preload {

thread_local int Inside::depth = 0;

namespace {

// Not destroyed at exit: a program that leaves without MPI_Finalize has not ended MPI either.
Runtime* runtime = nullptr;
bool running = false;

// A program on Shoal makes its own Runtime, and a process has but one.
bool is_shoal(const void* caller) {
  Dl_info info{};
  return dladdr(caller, &info) != 0 && info.dli_fname != nullptr &&
         std::string_view(info.dli_fname).find("libshoal_runtime") != std::string_view::npos;
}

bool switched_off() {
  const char* text = std::getenv("SHOAL_PRELOAD");
  return text != nullptr && (std::string_view(text) == "0" || std::string_view(text) == "off");
}

// True if `good` on all ranks.
bool all_agree(bool good) {
  int all = good ? 1 : 0;
  return PMPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD) == MPI_SUCCESS &&
         all != 0;
}

void say(const char* what) { std::fprintf(stderr, "shoal: %s; MPI does it all\n", what); }

void start(const void* caller) {
  if (is_shoal(caller)) return;
  int size = 0;
  int rank = 0;
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (size == 1) return;
  const Inside inside;
  bool good = !switched_off();
  try {
    if (good) settings();
  } catch (const Error& error) {
    if (rank == 0) say(error.what());
    good = false;
  }
  if (!all_agree(good)) return;
  // Whom the program's users have not asked for need not speak.
  if (std::getenv("SHOAL_LOG") == nullptr) log::set_level(log::Level::warning);
  try {
    start_types();
    start_groups();
    start_report();
    Runtime::Options options;
    options.threads = ThreadLevel::single;
    options.abort_on_unwind = false;
    options.guest = true;
    runtime = new Runtime(options);
  } catch (const std::exception& error) {
    if (rank == 0) say(error.what());
  }
  running = all_agree(runtime != nullptr);
  if (!running) return;
  start_requests();
  // Here all ranks wait for each other; a non-blocking call may not.
  group_of(MPI_COMM_WORLD, true);
  start_allocating();
  start_lending();
}

void stop() {
  if (!running) return;
  running = false;
  stop_allocating();
  stop_lending();
  int rank = 0;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) print_report();
  const Inside inside;
  stop_requests();
  stop_groups();
  delete runtime;
  runtime = nullptr;
}

}  // namespace

bool active() noexcept { return running; }

int fail(MPI_Comm comm, const char* what) noexcept {
  std::fprintf(stderr, "shoal: %s\n", what);
  PMPI_Comm_call_errhandler(comm, MPI_ERR_OTHER);
  return MPI_ERR_OTHER;
}

}  // namespace shoal::preload

extern "C" {

SHOAL_EXPORT int MPI_Init(int* argc, char*** argv) {
  const int code = PMPI_Init(argc, argv);
  if (code == MPI_SUCCESS) shoal::preload::start(__builtin_return_address(0));
  return code;
}

SHOAL_EXPORT int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  const int code = PMPI_Init_thread(argc, argv, required, provided);
  if (code == MPI_SUCCESS) shoal::preload::start(__builtin_return_address(0));
  return code;
}

SHOAL_EXPORT int MPI_Finalize() {
  shoal::preload::stop();
  return PMPI_Finalize();
}

}  // extern "C"
