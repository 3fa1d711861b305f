#include "preload/requests.hpp"

#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "node/gradual.hpp"
#include "preload/gain.hpp"
#include "preload/preload.hpp"

namespace shoal::preload {

/// Those of one communicator that are under way: one after the other, in the order of the calls.
struct Requests {
  struct Begun {
    Call call;
    Work work;  // over several nodes; on one there is no more than the call
    MPI_Comm comm;
    MPI_Request request;
    int* code;  // for the program; of the request, which frees it
  };
  explicit Requests(Group& group) {
    if (!group.between) control.emplace(NodeControl::Beside{node_control(group.comm)});
  }
  std::optional<NodeControl> control;  // on one node
  std::deque<Begun> begun;
  std::optional<GradualAllReduce> first;  // of them, on one node
  bool broken = false;  // the ranks no longer agree on what comes next
};

namespace {

using Callback = int (*)();
using Register = int (*)(Callback);
Register engage = nullptr;
Register disengage = nullptr;

std::mutex mutex;                            // of what follows, and of all Requests
// Those with something under way. Not destroyed at exit: a program that leaves without MPI_Finalize waits for nobody.
std::vector<std::shared_ptr<Group>>& going = *new std::vector<std::shared_ptr<Group>>;
std::atomic<std::size_t> going_count{0};    // the same, without the lock
thread_local bool busy = false;

// What came to nothing, to be told without the lock: error handlers may call MPI.
struct Failure {
  MPI_Comm comm;
  std::string what;
};

int tell(void* code, MPI_Status* status) {
  PMPI_Status_set_elements(status, MPI_BYTE, 0);
  PMPI_Status_set_cancelled(status, 0);
  status->MPI_SOURCE = MPI_ANY_SOURCE;
  status->MPI_TAG = MPI_ANY_TAG;
  return *static_cast<int*>(code);
}

int forget(void* code) {
  delete static_cast<int*>(code);
  return MPI_SUCCESS;
}

// MPI forbids it for collectives.
int refuse(void*, int) { return MPI_ERR_REQUEST; }

void complete_first(Requests& requests, int code) {
  const Requests::Begun done = std::move(requests.begun.front());
  requests.begun.pop_front();
  requests.first.reset();
  *done.code = code;
  PMPI_Grequest_complete(done.request);
}

// A step of the first; true if it is done.
bool advance_first(Requests& requests) {
  Requests::Begun& next = requests.begun.front();
  if (!requests.control) return next.work.test();
  if (requests.broken) throw Error("MPI_Iallreduce", "an earlier one has failed");
  if (!requests.first) requests.first.emplace(next.call, *requests.control);
  return requests.first->advance();
}

// A step; true if something was completed.
bool advance(Group& group, std::vector<Failure>& failures) {
  Requests& requests = *group.requests;
  bool any = false;
  while (!requests.begun.empty()) {
    try {
      if (!advance_first(requests)) return any;
      complete_first(requests, MPI_SUCCESS);
    } catch (const std::exception& error) {
      requests.broken = true;
      const MPI_Comm comm = group.freed ? MPI_COMM_WORLD : requests.begun.front().comm;
      failures.push_back({comm, error.what()});
      complete_first(requests, MPI_ERR_OTHER);
    }
    any = true;
  }
  return any;
}

void tell_of(const std::vector<Failure>& failures) noexcept {
  for (const Failure& failure : failures) fail(failure.comm, failure.what.c_str());
}

int advance_all() {
  if (going_count.load(std::memory_order_acquire) == 0 || busy) return 0;
  std::unique_lock lock(mutex, std::try_to_lock);
  if (!lock.owns_lock()) return 0;  // another thread is at it
  busy = true;
  int completed = 0;
  std::vector<Failure> failures;
  std::vector<std::shared_ptr<Group>> idle;  // their last owners, maybe: let go without the lock
  for (const auto& group : going) {
    if (advance(*group, failures)) ++completed;
    if (group->requests->begun.empty()) idle.push_back(group);
  }
  const bool beside = std::any_of(going.begin(), going.end(), [](const auto& group) {
    return group->beside != nullptr && !group->requests->begun.empty();
  });
  if (!idle.empty()) {
    std::erase_if(going, [](const auto& group) { return group->requests->begun.empty(); });
    going_count.store(going.size(), std::memory_order_release);
  }
  lock.unlock();
  idle.clear();
  tell_of(failures);
  busy = false;
  // Open MPI asks again at once, and the thread may have no other core than this one's. (Bound to a core
  // each, two ranks reduce 16 MiB in 10.5 ms without this, and in 6.3 with it.)
  if (beside && completed == 0) sched_yield();
  return completed;
}

}  // namespace

void start_requests() {
  engage = reinterpret_cast<Register>(dlsym(RTLD_DEFAULT, "opal_progress_register"));
  disengage = reinterpret_cast<Register>(dlsym(RTLD_DEFAULT, "opal_progress_unregister"));
  const bool here = engage != nullptr && disengage != nullptr && engage(advance_all) == 0;
  int everywhere = here ? 1 : 0;
  PMPI_Allreduce(MPI_IN_PLACE, &everywhere, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (everywhere != 0) return;
  if (here) disengage(advance_all);
  engage = nullptr;
}

void stop_requests() noexcept {
  if (engage != nullptr) disengage(advance_all);
  engage = nullptr;
  const std::lock_guard lock(mutex);
  for (const auto& group : going) {
    if (group->beside) group->beside->give_up();
  }
  going.clear();
  going_count = 0;
}

bool requests_go_on() noexcept { return engage != nullptr; }

std::optional<int> begin_all_reduce(Group& group, MPI_Comm comm, const Call& call,
                                    MPI_Request* request) {
  const Algorithm* algorithm = nullptr;  // over several nodes
  if (group.between) {
    if (!group.beside || !group.beside->usable()) return std::nullopt;
    if (!gains_beside(call, group.between->alone())) return std::nullopt;
    algorithm = group.between->choice(call);
    if (algorithm == nullptr) return std::nullopt;
  }
  auto code = std::make_unique<int>(MPI_SUCCESS);
  const int started = PMPI_Grequest_start(tell, forget, refuse, code.get(), request);
  if (started != MPI_SUCCESS) return started;
  std::vector<Failure> failures;
  {
    const std::lock_guard lock(mutex);
    if (!group.requests) group.requests = std::make_shared<Requests>(group);
    std::deque<Requests::Begun>& begun = group.requests->begun;
    begun.push_back({call, {}, comm, *request, code.release()});
    if (algorithm != nullptr) begun.back().work = group.beside->begin(call, *algorithm);
    // Announced at once where nothing is before it, so that the others need not wait for this rank to
    // come back to MPI.
    if (begun.size() == 1) {
      if (algorithm == nullptr) advance(group, failures);
      if (!begun.empty()) {
        going.push_back(group.shared_from_this());
        going_count.store(going.size(), std::memory_order_release);
      }
    }
  }
  tell_of(failures);
  return MPI_SUCCESS;
}

}  // namespace shoal::preload
