#include "progress/runner.hpp"

#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/log.hpp>

namespace shoal {

Work::Work() noexcept = default;
Work::Work(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
Work::Work(Work&&) noexcept = default;

Work& Work::operator=(Work&& other) noexcept {
  if (this != &other) {
    let_go();
    state_ = std::move(other.state_);
    took_ = other.took_;
  }
  return *this;
}

Work::~Work() { let_go(); }

void Work::let_go() noexcept {
  const std::shared_ptr<State> state = std::exchange(state_, nullptr);
  if (!state) return;
  // A communicator that has gone has done its work: the queue is touched only before.
  const bool done = state->done.load(std::memory_order_acquire);
  if (!done && is_forked_child()) return;  // the parent's thread does it, for the parent
  if (!done && std::uncaught_exceptions() > 0) return state->runner->take_back(*state);
  try {
    if (!done) state->runner->finish(*state);
    if (state->failure && std::uncaught_exceptions() == 0) log::error(text_of(state->failure));
  } catch (...) {
    // It is done, and there is nobody to tell.
  }
}

bool Work::test() {
  if (!state_) return true;
  require_own_process("test of a collective");
  if (!state_->done.load(std::memory_order_acquire) && !state_->runner->test(*state_)) return false;
  wait();
  return true;
}

void Work::wait() {
  if (state_) require_own_process("wait for a collective");
  const std::shared_ptr<State> state = std::exchange(state_, nullptr);
  if (!state) return;
  if (!state->done.load(std::memory_order_acquire)) state->runner->finish(*state);
  took_ = state->took;
  if (state->failure) std::rethrow_exception(state->failure);
}

}  // namespace shoal
