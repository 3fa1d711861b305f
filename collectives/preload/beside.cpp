#include "preload/beside.hpp"

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/settings.hpp>

#include "dispatch.hpp"
#include "preload/preload.hpp"

namespace shoal::preload {

Beside::Beside(const Communicator& comm)
    : queue_(std::make_unique<WorkQueue>(
          WorkQueue::WithoutMpi{}, borrow_communicator(mpi_handle(comm), comm.name() + " (later)"))) {
  // Where the calls are compared, they are by messages of MPI's.
  if (!all_can(comm, queue_->threaded() && !settings().check)) return;
  try {
    ways_ = std::make_unique<Between>(queue_->comm());
    usable_ = ways_->usable();
  } catch (const Error&) {
    usable_ = false;
  }
}

Work Beside::begin(const Call& call, const Algorithm& algorithm) {
  auto state = std::make_shared<Work::State>();
  state->body = [call, &algorithm](const Communicator& comm) {
    const Inside inside;
    Call mine = call;
    mine.comm = &comm;
    run_with(mine, algorithm);
  };
  queue_->push(state);
  return Work(std::move(state));
}

}  // namespace shoal::preload
