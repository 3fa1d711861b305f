#include "file_job.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <system_error>
#include <utility>

#include <shoal/runtime/signals_held.hpp>

namespace shoal {
namespace {

// Below threads of the usual 0: a tenth of their share where they contend for a core.
constexpr int yielding_niceness = 10;

}  // namespace

FileJob::~FileJob() {
  if (thread_.joinable()) thread_.join();
}

void FileJob::start(std::function<void()> work, bool yielding) {
  done_ = false;
  failure_ = nullptr;
  const auto run = [this](const std::function<void()>& piece) {
    try {
      piece();
    } catch (...) {
      failure_ = std::current_exception();
    }
    done_.store(true, std::memory_order_release);
  };
  try {
    const SignalsHeld held;
    thread_ = std::thread([run, yielding, work] {
      // Linux keeps a niceness for each thread; where it does not let us, nothing is lost.
      if (yielding) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), yielding_niceness);
      run(work);
    });
  } catch (const std::system_error&) {
    run(work);  // no thread to be had: then here and now
  }
}

void FileJob::wait() {
  if (thread_.joinable()) thread_.join();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace shoal
