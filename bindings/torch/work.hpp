// The Work that every call of the backend returns.
#pragma once

#include <torch/csrc/distributed/c10d/Work.hpp>

#include <functional>
#include <memory>
#include <vector>

#include "lane.hpp"

namespace shoal::torch_backend {

class GroupWork : public c10d::Work {
 public:
  using Tensors = std::vector<at::Tensor>;

  GroupWork(int rank, c10d::OpType type, const char* title, const Tensors& inputs,
            std::vector<Tensors> results, std::shared_ptr<Lane> lane);
  /// What it stands for; called once, before anybody else has it.
  void is_of(std::shared_ptr<Job> job) { job_ = std::move(job); }
  void is_of(std::shared_ptr<Message> message) { message_ = std::move(message); }
  /// It has ended: does `after`, sets result or exception, calls those who asked to be told.
  void complete(std::exception_ptr failure, const std::function<void()>& after);

  bool isCompleted() override;
  bool wait(std::chrono::milliseconds timeout) override;
  std::vector<at::Tensor> result() override;
  int sourceRank() const override;
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;

 private:
  void tell(const c10::intrusive_ptr<c10::ivalue::Future>& future);

  const std::vector<Tensors> results_;
  const std::shared_ptr<Lane> lane_;
  std::shared_ptr<Job> job_;
  std::shared_ptr<Message> message_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;  // made when asked for; under mutex_
};

}  // namespace shoal::torch_backend
