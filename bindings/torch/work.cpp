#include "work.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include <stdexcept>
#include <utility>

namespace shoal::torch_backend {

GroupWork::GroupWork(int rank, c10d::OpType type, const char* title, const Tensors& inputs,
                     std::vector<Tensors> results, std::shared_ptr<Lane> lane)
    : Work(rank, type, title, inputs), results_(std::move(results)), lane_(std::move(lane)) {}

void GroupWork::complete(std::exception_ptr failure, const std::function<void()>& after) {
  if (!failure && after) {
    const at::NoGradGuard no_grad;
    try {
      after();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  finish(std::move(failure));
  c10::intrusive_ptr<c10::ivalue::Future> future;
  {
    const std::lock_guard lock(mutex_);
    future = future_;
  }
  if (!future) return;
  lane_->step_aside();
  tell(future);
}

// Gloo's results: a list of tensors, or of lists where there are several.
void GroupWork::tell(const c10::intrusive_ptr<c10::ivalue::Future>& future) {
  if (exception_) {
    future->setError(exception_);
  } else if (results_.size() > 1) {
    future->markCompleted(c10::IValue(results_));
  } else {
    future->markCompleted(c10::IValue(results_.empty() ? Tensors() : results_[0]));
  }
}

bool GroupWork::isCompleted() {
  if (message_) message_->test();
  if (Work::isCompleted()) return true;
  if (job_) lane_->hurry();
  return false;
}

bool GroupWork::wait(std::chrono::milliseconds timeout) {
  const bool limited = timeout != kNoTimeout;
  if (Work::isCompleted()) {
    // Perhaps a function that its future calls asks: it is not told to all yet.
  } else if (message_) {
    lane_->finish(*message_, limited ? timeout : lane_->timeout());
  } else if (!limited) {
    lane_->finish(*job_);
  } else if (!lane_->finish_by(*job_, Clock::now() + timeout)) {
    throw std::runtime_error("Operation timed out!");
  }
  const std::lock_guard lock(mutex_);
  if (exception_) std::rethrow_exception(exception_);
  return true;
}

std::vector<at::Tensor> GroupWork::result() {
  TORCH_CHECK(Work::isCompleted(),
              "Work needs to be completed before calling result(). Should call wait() before result().");
  TORCH_CHECK(results_.size() <= 1,
              "work result does not support list of lists, use .getFuture() and value()");
  return results_.empty() ? Tensors() : results_[0];
}

int GroupWork::sourceRank() const {
  if (message_ && !message_->sends() && message_->done()) return message_->source();
  return Work::sourceRank();  // throws
}

c10::intrusive_ptr<c10::ivalue::Future> GroupWork::getFuture() {
  c10::intrusive_ptr<c10::ivalue::Future> future;
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    if (future_) return future_;
    const auto list = c10::ListType::create(c10::TensorType::get());
    future = future_ = c10::make_intrusive<c10::ivalue::Future>(
        results_.size() > 1 ? c10::ListType::create(list) : list);
    late = completed_;
  }
  if (late) {
    tell(future);
  } else if (job_) {
    lane_->hurry();
  }
  return future;
}

}  // namespace shoal::torch_backend
