// The process's membership in a run.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// How many of the process's threads may call Shoal at a time (MPI's thread levels).
enum class ThreadLevel {
  single,      ///< the process has one thread
  funneled,    ///< only the thread that made the Runtime calls
  serialized,  ///< one thread at a time
  multiple,    ///< any
};

/// MPI's lifetime, as an object: make one at the start of main, use `world()`, let it end with main.
/// If the program has already initialised MPI the Runtime works on top and leaves finalising to
/// it. If the Runtime is destroyed while an exception unwinds, the whole run is aborted, since the
/// other ranks would wait for this one for ever.
class Runtime {
 public:
  struct Options {
    /// What MPI must grant. None: `multiple` if the Runtime starts MPI and can have it, so that
    /// collectives go on in the background, or whatever there is; see threads().
    std::optional<ThreadLevel> threads;
    /// Chrome/Perfetto trace of all ranks, written by rank 0 at the end; empty: none.
    std::string trace_file;
    /// What the destructor does on ranks that unwind: true kills the run (the default).
    bool abort_on_unwind = true;
    /// True: the process is someone else's, who knows nothing of Shoal. No watch, no limit to waits
    /// unless SHOAL_TIMEOUT gives one, no threads started, OpenMP left alone.
    bool guest = false;
  };

  /// Collective over all ranks. Throws Error if MPI cannot give the thread level, or if the process
  /// already has a Runtime.
  Runtime();
  explicit Runtime(const Options& options);
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  /// All ranks of the run.
  const Communicator& world() const noexcept;
  /// The same ranks, for what must get through when a collective on world() has failed half-way.
  const Communicator& control() const noexcept;
  /// The thread level that MPI granted.
  ThreadLevel threads() const noexcept;
  /// True if the Runtime initialised MPI, and so will finalise it.
  bool owns_mpi() const noexcept;

  /// "Open MPI 4.1.4, MPI 3.1".
  static std::string mpi_version();
  /// Ends the whole run at once, on all ranks, with this exit status.
  [[noreturn]] static void abort(int status) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The main function of a program on Shoal: makes a Runtime, runs `body`, turns what it throws into
/// one line on standard error and an exit status: 2 for a UsageError, 1 for everything else. If all
/// ranks threw, the run ends in order, and what all of them say is printed once; if only some did, they
/// say so and the run is aborted.
int run_main(const Runtime::Options& options, const std::function<int(Runtime&)>& body);

}  // namespace shoal
