// "shoal" as a backend of torch.distributed.
//
// What differs between releases of PyTorch is here, in tensors.cpp (PREMUL_SUM) and in
// shoal_torch/__init__.py: a backend is a c10d::ProcessGroup up to 1.13 and a c10d::Backend
// from 2.0 on, with the same functions and two more (coalesced.cpp).
#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/version.h>
#if TORCH_VERSION_MAJOR >= 2
#include <torch/csrc/distributed/c10d/Backend.hpp>
#endif

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lane.hpp"
#include "operations.hpp"
#include "tensors.hpp"

namespace shoal::torch_backend {

#if TORCH_VERSION_MAJOR >= 2
using Base = c10d::Backend;
#else
using Base = c10d::ProcessGroup;
#endif
using TorchWork = c10::intrusive_ptr<c10d::Work>;

class ProcessGroupShoal : public Base {
 public:
  explicit ProcessGroupShoal(std::shared_ptr<Lane> lane);
  ~ProcessGroupShoal() override;

  const std::string getBackendName() const override { return "shoal"; }

  TorchWork broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  TorchWork allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  TorchWork allreduce_coalesced(Tensors& tensors,
                                const c10d::AllreduceCoalescedOptions& options) override;
  TorchWork reduce(Tensors& tensors, const c10d::ReduceOptions& options) override;
  TorchWork allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                      const c10d::AllgatherOptions& options) override;
  TorchWork _allgather_base(at::Tensor& output, at::Tensor& input,
                            const c10d::AllgatherOptions& options) override;
  TorchWork allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                                const c10d::AllgatherOptions& options) override;
  TorchWork gather(std::vector<Tensors>& outputs, Tensors& inputs,
                   const c10d::GatherOptions& options) override;
  TorchWork scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                    const c10d::ScatterOptions& options) override;
  TorchWork reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                           const c10d::ReduceScatterOptions& options) override;
  TorchWork _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                 const c10d::ReduceScatterOptions& options) override;
  TorchWork alltoall_base(at::Tensor& output, at::Tensor& input,
                          std::vector<std::int64_t>& output_splits,
                          std::vector<std::int64_t>& input_splits,
                          const c10d::AllToAllOptions& options) override;
  TorchWork alltoall(Tensors& outputs, Tensors& inputs,
                     const c10d::AllToAllOptions& options) override;
  TorchWork send(Tensors& tensors, int to, int tag) override;
  TorchWork recv(Tensors& tensors, int from, int tag) override;
  TorchWork recvAnysource(Tensors& tensors, int tag) override;
  TorchWork barrier(const c10d::BarrierOptions& options) override;

#if TORCH_VERSION_MAJOR >= 2
  TorchWork allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                            const c10d::AllgatherOptions& options) override;
  TorchWork reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                            const c10d::ReduceScatterOptions& options) override;
#endif

  void setSequenceNumberForGroup() override {}
  std::uint64_t getSequenceNumberForGroup() override { return calls_; }

 private:
  // What is to be done, and what to say of it.
  struct Call {
    const char* name;
    c10d::OpType type;
    const char* title;  // for the profiler
    Tensors inputs;     // kept until it is done
    std::vector<Tensors> results;
    Milliseconds timeout{0};
    Bytes bytes = 0;
    std::function<void(const Communicator&)> body;
    std::function<void()> after = nullptr;  // in the order of the body, but not the group's failure
  };
  TorchWork start(Call call);
  TorchWork allreduce_of_sparse(Tensors& tensors, const c10d::AllreduceOptions& options);
  TorchWork start_message(Call call, bool sends, std::optional<Rank> partner, int tag);

  std::shared_ptr<Lane> lane_;
  std::uint64_t calls_ = 0;
};

}  // namespace shoal::torch_backend
