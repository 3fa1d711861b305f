#include <torch/csrc/python_headers.h>

#include "backend.hpp"

#include <cstdint>
#include <string>
#include <utility>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_to_all.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/error.hpp>

#include "recurring.hpp"
#include "tensors.hpp"
#include "work.hpp"

namespace shoal::torch_backend {
namespace {

// From so many bytes on the thread is woken at once, since they are worth doing beside what follows.
constexpr Bytes urgent_bytes = 1 << 20;

}  // namespace

ProcessGroupShoal::ProcessGroupShoal(std::shared_ptr<Lane> lane)
    : Base(lane->rank(), lane->size()), lane_(std::move(lane)) {}

ProcessGroupShoal::~ProcessGroupShoal() {
  // What is still to be done may call Python, while Python waits here for its end.
  const bool from_python = Py_IsInitialized() != 0 && PyGILState_Check() != 0;
  PyThreadState* const python = from_python ? PyEval_SaveThread() : nullptr;
  lane_->shut_down();
  if (python != nullptr) PyEval_RestoreThread(python);
}

TorchWork ProcessGroupShoal::start(Call call) {
  auto work = c10::make_intrusive<GroupWork>(rank_, call.type, call.title, call.inputs,
                                             std::move(call.results), lane_);
  auto job = std::make_shared<Job>();
  job->name = call.name;
  job->timeout = call.timeout.count() > 0 ? call.timeout : lane_->timeout();
  // The tensors must outlive the call.
  job->body = [inputs = std::move(call.inputs), body = std::move(call.body)](const Communicator& comm) {
    body(comm);
  };
  if (call.after) {
    job->after = [after = std::move(call.after)] {
      const at::NoGradGuard no_grad;
      after();
    };
  }
  job->finished = [work](std::exception_ptr failure) { work->complete(std::move(failure), nullptr); };
  work->is_of(job);
  lane_->push(job, call.bytes >= urgent_bytes);
  ++calls_;
  return work;
}

TorchWork ProcessGroupShoal::start_message(Call call, bool sends, std::optional<Rank> partner,
                                           int tag) {
  const at::Tensor tensor = call.inputs[0];
  auto work = c10::make_intrusive<GroupWork>(rank_, call.type, call.title, call.inputs,
                                             std::move(call.results), lane_);
  auto finished = [work, tensor, after = std::move(call.after)](std::exception_ptr failure) {
    work->complete(std::move(failure), after);
  };
  work->is_of(sends ? lane_->send(data_of(tensor), bytes_of(tensor), *partner, tag, finished)
                    : lane_->receive(data_of(tensor), bytes_of(tensor), partner, tag, finished));
  return work;
}

TorchWork ProcessGroupShoal::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
  constexpr auto name = "broadcast";
  const at::Tensor& tensor = only_one(name, tensors, rank_ != options.rootRank);
  require(options.rootRank >= 0 && options.rootRank < size_, name,
          "invalid root rank: " + std::to_string(options.rootRank));
  require(options.rootTensor == 0, name,
          "invalid root tensor: " + std::to_string(options.rootTensor));
  const at::NoGradGuard no_grad;
  const auto root = static_cast<Rank>(options.rootRank);
  const at::Tensor dense = rank_ == root ? tensor.contiguous() : dense_output(tensor);
  return start({name, c10d::OpType::BROADCAST, "shoal:broadcast", tensors, {tensors}, options.timeout,
                bytes_of(dense),
                [dense, root](const Communicator& comm) {
                  shoal::broadcast(comm, data_of(dense), static_cast<Index>(dense.nbytes()),
                                   DType::i8, root, compared(dense));
                },
                rank_ == root ? nullptr : copying(tensor, dense)});
}

TorchWork ProcessGroupShoal::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
  constexpr auto name = "allreduce";
  if (tensors.size() == 1 && tensors[0].is_sparse()) return allreduce_of_sparse(tensors, options);
  const at::Tensor& tensor = only_one(name, tensors, true);
  const Element type = element_of(name, tensor);
  const Combine how = combine_of(name, options.reduceOp, type);
  const at::NoGradGuard no_grad;
  const at::Tensor dense = premultiplied(name, options.reduceOp, tensor).contiguous();
  return start({name,
                c10d::OpType::ALLREDUCE,
                "shoal:all_reduce",
                tensors,
                {tensors},
                options.timeout,
                bytes_of(dense),
                [dense, type, how](const Communicator& comm) {
                  help_if_it_recurs(data_of(dense), bytes_of(dense));
                  combine_all(comm, data_of(dense), data_of(dense), dense.numel(), type, how,
                              compared(dense, how));
                },
                copying(tensor, dense)});
}

TorchWork ProcessGroupShoal::allreduce_coalesced(Tensors& tensors,
                                                 const c10d::AllreduceCoalescedOptions& options) {
  constexpr auto name = "allreduce_coalesced";
  require(!tensors.empty(), name, "requires non-empty tensor list");
  for (const at::Tensor& tensor : tensors) {
    check_tensor(name, tensor, true);
    require(tensor.scalar_type() == tensors[0].scalar_type(), name,
            "tensors must all have the same type");
  }
  const Element type = element_of(name, tensors[0]);
  const Combine how = combine_of(name, options.reduceOp, type);
  const at::NoGradGuard no_grad;
  Tensors flat;
  for (const at::Tensor& tensor : tensors) flat.push_back(tensor.reshape({-1}));
  const at::Tensor all = premultiplied(name, options.reduceOp, at::cat(flat));
  return start({name, c10d::OpType::ALLREDUCE_COALESCED, "shoal:all_reduce", tensors, {tensors},
                options.timeout, bytes_of(all),
                [all, type, how](const Communicator& comm) {
                  combine_all(comm, data_of(all), data_of(all), all.numel(), type, how, compared(all, how));
                },
                copying_from_row(all, tensors)});
}

TorchWork ProcessGroupShoal::reduce(Tensors& tensors, const c10d::ReduceOptions& options) {
  constexpr auto name = "reduce";
  const at::Tensor& tensor = only_one(name, tensors, rank_ == options.rootRank);
  require(options.rootRank >= 0 && options.rootRank < size_, name,
          "invalid root rank: " + std::to_string(options.rootRank));
  require(options.rootTensor == 0, name,
          "invalid root tensor: " + std::to_string(options.rootTensor));
  const Element type = element_of(name, tensor);
  const Combine how = combine_of(name, options.reduceOp, type);
  const at::NoGradGuard no_grad;
  const at::Tensor in = premultiplied(name, options.reduceOp, tensor).contiguous();
  // The others' tensors stay as they are.
  const bool is_root = rank_ == options.rootRank;
  const at::Tensor out = is_root ? in : at::empty(in.sizes(), in.options().requires_grad(false));
  return start({name, c10d::OpType::REDUCE, "shoal:reduce", tensors, {tensors}, options.timeout,
                bytes_of(in),
                [in, out, type, how, root = static_cast<Rank>(options.rootRank)](const Communicator& comm) {
                  combine_all(comm, data_of(in), data_of(out), in.numel(), type, how,
                              compared(in, how, Purpose::reduce, root));
                },
                is_root ? copying(tensor, out) : nullptr});
}

TorchWork ProcessGroupShoal::allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                                       const c10d::AllgatherOptions& options) {
  constexpr auto name = "allgather";
  const at::Tensor& input = only_one(name, inputs);
  require(outputs.size() == 1, name, "requires a single output list");
  require(outputs[0].size() == static_cast<std::size_t>(size_), name,
          "invalid output tensor list at index 0 (expected length " + std::to_string(size_) +
              ", got " + std::to_string(outputs[0].size()) + ")");
  check_alike(name, outputs[0], input, true);
  const at::NoGradGuard no_grad;
  const at::Tensor in = input.contiguous();
  at::Tensor row = row_for(outputs[0]);
  const auto count = static_cast<Index>(in.nbytes());
  return start({name, c10d::OpType::ALLGATHER, "shoal:all_gather", inputs, outputs, options.timeout,
                bytes_of(row),
                [in, row, count](const Communicator& comm) {
                  shoal::all_gather(comm, data_of(in), count, data_of(row), DType::i8, compared(in));
                },
                copying_from_row(row, outputs[0])});
}

TorchWork ProcessGroupShoal::_allgather_base(at::Tensor& output, at::Tensor& input,
                                             const c10d::AllgatherOptions& options) {
  constexpr auto name = "_allgather_base";
  check_tensor(name, input);
  check_tensor(name, output, true);
  check_same_type(name, input, output);
  require(output.numel() == input.numel() * size_, name,
          "output tensor size must be equal to world_size times input tensor size");
  const at::NoGradGuard no_grad;
  const at::Tensor in = input.contiguous();
  const at::Tensor out = dense_output(output);
  const auto count = static_cast<Index>(in.nbytes());
  return start({name, c10d::OpType::_ALLGATHER_BASE, "shoal:_all_gather_base", {input}, {{output}},
                options.timeout, bytes_of(out),
                [in, out, count](const Communicator& comm) {
                  shoal::all_gather(comm, data_of(in), count, data_of(out), DType::i8, compared(in));
                },
                copying(output, out)});
}

TorchWork ProcessGroupShoal::allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                                                 const c10d::AllgatherOptions& options) {
  constexpr auto name = "allgather_coalesced";
  require(!inputs.empty(), name, "requires non-empty input tensor list");
  require(outputs.size() == static_cast<std::size_t>(size_), name,
          "output lists should be equal to world size");
  for (const Tensors& list : outputs) {
    require(list.size() == inputs.size(), name,
            "invalid output size: (expected length " + std::to_string(inputs.size()) + ", got " +
                std::to_string(list.size()) + ")");
    for (std::size_t i = 0; i < list.size(); ++i) check_alike(name, {list[i]}, inputs[i], true);
  }
  const at::NoGradGuard no_grad;
  // Of every rank all tensors, one after the other, as bytes.
  Tensors bytes;
  for (const at::Tensor& input : inputs) {
    check_tensor(name, input);
    bytes.push_back(input.contiguous().reshape({-1}).view(at::kByte));
  }
  const at::Tensor in = at::cat(bytes);
  const at::Tensor row = at::empty({size_ * in.numel()}, in.options());
  return start({name, c10d::OpType::ALLGATHER_COALESCED, "shoal:all_gather", inputs, outputs,
                options.timeout, bytes_of(row),
                [in, row](const Communicator& comm) {
                  shoal::all_gather(comm, data_of(in), in.numel(), data_of(row), DType::i8);
                },
                [row, outputs] {
                  std::int64_t at = 0;
                  for (const Tensors& list : outputs) {
                    for (const at::Tensor& tensor : list) {
                      const auto size = static_cast<std::int64_t>(tensor.nbytes());
                      // A copy, since types larger than a byte must be aligned.
                      tensor.copy_(row.narrow(0, at, size).clone().view(tensor.scalar_type()).view(
                          tensor.sizes()));
                      at += size;
                    }
                  }
                }});
}

TorchWork ProcessGroupShoal::gather(std::vector<Tensors>& outputs, Tensors& inputs,
                                    const c10d::GatherOptions& options) {
  constexpr auto name = "gather";
  require(options.rootRank >= 0 && options.rootRank < size_, name,
          "invalid root rank: " + std::to_string(options.rootRank));
  const at::Tensor& input = only_one(name, inputs);
  const bool is_root = rank_ == options.rootRank;
  if (is_root) {
    require(outputs.size() == 1 && outputs[0].size() == static_cast<std::size_t>(size_), name,
            "requires a single-element output list containing a list with " + std::to_string(size_) +
                " tensors.");
    check_alike(name, outputs[0], input, true);
  } else {
    require(outputs.empty(), name, "requires empty output on non-root");
  }
  const at::NoGradGuard no_grad;
  const at::Tensor in = input.contiguous();
  const at::Tensor row = is_root ? row_for(outputs[0]) : at::Tensor();
  const auto root = static_cast<Rank>(options.rootRank);
  return start({name, c10d::OpType::GATHER, "shoal:gather", inputs, outputs, options.timeout,
                bytes_of(in),
                [in, row, root](const Communicator& comm) {
                  torch_backend::gather(comm, data_of(in), row.defined() ? data_of(row) : nullptr,
                                        bytes_of(in), root, compared(in).meaning.variant);
                },
                is_root ? copying_from_row(row, outputs[0]) : nullptr});
}

TorchWork ProcessGroupShoal::scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                     const c10d::ScatterOptions& options) {
  constexpr auto name = "scatter";
  require(options.rootRank >= 0 && options.rootRank < size_, name,
          "invalid root rank: " + std::to_string(options.rootRank));
  const at::Tensor& output = only_one(name, outputs, true);
  const bool is_root = rank_ == options.rootRank;
  const at::NoGradGuard no_grad;
  at::Tensor row;
  Tensors kept = outputs;
  if (is_root) {
    require(inputs.size() == 1 && inputs[0].size() == static_cast<std::size_t>(size_), name,
            "requires a single-element input list containing a list with " + std::to_string(size_) +
                " tensors");
    check_alike(name, inputs[0], output, false);
    row = row_for(inputs[0]);
    copy_into_row(row, inputs[0]);
    kept.insert(kept.end(), inputs[0].begin(), inputs[0].end());
  } else {
    require(inputs.empty(), name, "requires empty input on non-root");
  }
  const at::Tensor out = dense_output(output);
  const auto root = static_cast<Rank>(options.rootRank);
  return start({name, c10d::OpType::SCATTER, "shoal:scatter", kept, {outputs}, options.timeout,
                bytes_of(out),
                [row, out, root](const Communicator& comm) {
                  torch_backend::scatter(comm, row.defined() ? data_of(row) : nullptr, data_of(out),
                                         bytes_of(out), root, compared(out).meaning.variant);
                },
                copying(output, out)});
}

TorchWork ProcessGroupShoal::reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                                            const c10d::ReduceScatterOptions& options) {
  constexpr auto name = "reduce_scatter";
  const at::Tensor& output = only_one(name, outputs, true);
  require(inputs.size() == 1 && inputs[0].size() == static_cast<std::size_t>(size_), name,
          "requires a single input list with " + std::to_string(size_) + " tensors");
  check_alike(name, inputs[0], output, false);
  const Element type = element_of(name, output);
  const Combine how = combine_of(name, options.reduceOp, type);
  const at::NoGradGuard no_grad;
  const at::Tensor plain = row_for(inputs[0]);
  copy_into_row(plain, inputs[0]);
  const at::Tensor row = premultiplied(name, options.reduceOp, plain);
  const at::Tensor out = dense_output(output);
  return start({name, c10d::OpType::REDUCE_SCATTER, "shoal:reduce_scatter", inputs[0], {outputs},
                options.timeout, bytes_of(row),
                [row, out, type, how](const Communicator& comm) {
                  combine_scatter(comm, data_of(row), data_of(out), out.numel(), type, how,
                                  compared(row, how));
                },
                copying(output, out)});
}

TorchWork ProcessGroupShoal::_reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                                  const c10d::ReduceScatterOptions& options) {
  constexpr auto name = "_reduce_scatter_base";
  check_tensor(name, input);
  check_tensor(name, output, true);
  check_same_type(name, input, output);
  require(input.numel() == output.numel() * size_, name,
          "input tensor must be the same size as output size times world size");
  const Element type = element_of(name, output);
  const Combine how = combine_of(name, options.reduceOp, type);
  const at::NoGradGuard no_grad;
  const at::Tensor in = premultiplied(name, options.reduceOp, input).contiguous();
  const at::Tensor out = dense_output(output);
  return start({name, c10d::OpType::_REDUCE_SCATTER_BASE, "shoal:_reduce_scatter_base", {input},
                {{output}}, options.timeout, bytes_of(in),
                [in, out, type, how](const Communicator& comm) {
                  combine_scatter(comm, data_of(in), data_of(out), out.numel(), type, how,
                                  compared(in, how));
                },
                copying(output, out)});
}

TorchWork ProcessGroupShoal::alltoall_base(at::Tensor& output, at::Tensor& input,
                                           std::vector<std::int64_t>& output_splits,
                                           std::vector<std::int64_t>& input_splits,
                                           const c10d::AllToAllOptions& options) {
  constexpr auto name = "alltoall_base";
  check_tensor(name, input);
  check_tensor(name, output, true);
  check_same_type(name, input, output);
  std::vector<Index> out_counts = byte_counts(name, output, output_splits, size_);
  std::vector<Index> in_counts = byte_counts(name, input, input_splits, size_);
  const at::NoGradGuard no_grad;
  const at::Tensor in = input.contiguous();
  const at::Tensor out = dense_output(output);
  return start({name, c10d::OpType::ALLTOALL_BASE, "shoal:all_to_all", {input}, {{output}},
                options.timeout, bytes_of(in),
                [in, out, in_counts, out_counts](const Communicator& comm) {
                  shoal::all_to_all(comm, data_of(in), in_counts, data_of(out), out_counts, DType::i8,
                                    compared(in));
                },
                copying(output, out)});
}

TorchWork ProcessGroupShoal::alltoall(Tensors& outputs, Tensors& inputs,
                                      const c10d::AllToAllOptions& options) {
  constexpr auto name = "alltoall";
  const auto ranks = static_cast<std::size_t>(size_);
  require(inputs.size() == ranks, name, "Number of input tensors are not equal to group size");
  require(outputs.size() == ranks, name, "Number of output tensors are not equal to group size");
  std::vector<Index> in_counts;
  std::vector<Index> out_counts;
  Tensors flat;
  std::int64_t received = 0;
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < ranks; ++i) {
    check_tensor(name, inputs[i]);
    check_tensor(name, outputs[i], true);
    check_same_type(name, inputs[i], inputs[0]);
    check_same_type(name, outputs[i], inputs[0]);
    in_counts.push_back(static_cast<Index>(inputs[i].nbytes()));
    out_counts.push_back(static_cast<Index>(outputs[i].nbytes()));
    flat.push_back(inputs[i].reshape({-1}));
    received += outputs[i].numel();
  }
  const at::Tensor in = at::cat(flat);
  const at::Tensor out = at::empty({received}, in.options());
  return start({name, c10d::OpType::ALLTOALL, "shoal:all_to_all", inputs, {outputs}, options.timeout,
                bytes_of(in),
                [in, out, in_counts, out_counts](const Communicator& comm) {
                  shoal::all_to_all(comm, data_of(in), in_counts, data_of(out), out_counts, DType::i8,
                                    compared(in));
                },
                copying_from_row(out, outputs)});
}

TorchWork ProcessGroupShoal::send(Tensors& tensors, int to, int tag) {
  constexpr auto name = "send";
  const at::Tensor& tensor = only_one(name, tensors);
  require(to >= 0 && to < size_, name, "there is no rank " + std::to_string(to));
  require(tag >= 0, name, "Tag must be nonnegative");
  const at::NoGradGuard no_grad;
  return start_message({name, c10d::OpType::SEND, "shoal:send", {tensor.contiguous()}, {}, {}, 0, {}},
                       true, to, tag);
}

TorchWork ProcessGroupShoal::recv(Tensors& tensors, int from, int tag) {
  constexpr auto name = "recv";
  const at::Tensor& tensor = only_one(name, tensors, true);
  require(from >= 0 && from < size_, name, "there is no rank " + std::to_string(from));
  require(tag >= 0, name, "Tag must be nonnegative");
  const at::NoGradGuard no_grad;
  const at::Tensor dense = dense_output(tensor);
  return start_message({name, c10d::OpType::RECV, "shoal:recv", {dense}, {tensors}, {}, 0, {},
                        copying(tensor, dense)},
                       false, from, tag);
}

TorchWork ProcessGroupShoal::recvAnysource(Tensors& tensors, int tag) {
  constexpr auto name = "recvAnysource";
  const at::Tensor& tensor = only_one(name, tensors, true);
  require(tag >= 0, name, "Tag must be nonnegative");
  const at::NoGradGuard no_grad;
  const at::Tensor dense = dense_output(tensor);
  return start_message({name, c10d::OpType::RECVANYSOURCE, "shoal:recvAnySource", {dense}, {tensors},
                        {}, 0, {}, copying(tensor, dense)},
                       false, std::nullopt, tag);
}

TorchWork ProcessGroupShoal::barrier(const c10d::BarrierOptions& options) {
  return start({"barrier", c10d::OpType::BARRIER, "shoal:barrier", {}, {}, options.timeout, 0,
                [](const Communicator& comm) { shoal::barrier(comm); }});
}

}  // namespace shoal::torch_backend
