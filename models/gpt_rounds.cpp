// What belongs to a round of micro-batches: room for them, their order, gradients to begin with.
#include <algorithm>
#include <chrono>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/trace.hpp>

#include "gpt_impl.hpp"

namespace shoal::models {

void Gpt::Impl::make_room(Index batch, Index time, Index batches_in_flight) {
  if (batch <= room_batch && time <= room_time && batches_in_flight <= in_flight) return;
  room_batch = std::max(batch, room_batch);
  room_time = std::max(time, room_time);
  in_flight = std::max(batches_in_flight, in_flight);
  const Index rows = room_batch * room_time;
  inputs.clear();
  saved.clear();
  work.clear();
  const Communicator& tp = mesh->axis("tp");
  const Index my_rows = by_rows ? block_of(rows, tp.size(), tp.rank()).size : rows;
  const auto blocks_in_flight = static_cast<Index>(blocks.size()) * in_flight;
  for (Index i = 0; i < blocks_in_flight; ++i) {
    const BlockExtents extents = blocks.front().extents(room_batch, room_time);
    inputs.emplace_back(my_rows * config.width);
    if (i == 0) work.emplace_back(extents, config.dropout > 0);
    if (recompute && i > 0) continue;
    saved.emplace_back(extents);
  }
  dx = Buffer<float>(rows * config.width, Memory::node_shared);
  if (stage.last()) {
    final_input = Buffer<float>(my_rows * config.width);
    final_norm = Buffer<float>(rows * config.width, by_rows ? Memory::node_shared : Memory::local);
    final_mean = Buffer<float>(my_rows);
    final_rstd = Buffer<float>(my_rows);
    final_sums = Buffer<float>(by_rows ? 2 * config.width : 0, Memory::node_shared);
    dhidden = Buffer<float>(rows * config.width, Memory::node_shared);
    logits = Buffer<float>(std::min(rows, logit_rows) * embedding.ids().size);
  }
  if (links) links->make_room(rows);
}

Pass Gpt::Impl::start(const TokenBatch& batch) const {
  if (batch.time < 1 || batch.time > config.block_size) {
    throw Error("gpt",
                "sequences of " + std::to_string(batch.time) + " tokens, but the block size is " +
                    std::to_string(config.block_size),
                "pass from 1 to block-size tokens");
  }
  const Index count = batch.sequences * batch.time;
  const auto outside = [&](std::int32_t id) { return id < 0 || id >= config.vocabulary; };
  for (const std::int32_t* ids : {batch.inputs, batch.targets}) {
    if (ids == nullptr) continue;
    const auto bad = std::find_if(ids, ids + count, outside);
    if (bad != ids + count) {
      throw Error("gpt", "token id " + std::to_string(*bad) + " is outside the vocabulary of " +
                             std::to_string(config.vocabulary));
    }
  }
  Pass pass;
  pass.batch = batch.sequences;
  pass.time = batch.time;
  pass.first_sequence = batch.first_sequence;
  return pass;
}

Gpt::Impl::Round Gpt::Impl::begin(std::span<const TokenBatch> batches, bool with_backward) {
  Round round;
  round.batches = batches;
  round.backward = with_backward;
  Index batch = 0;
  Index time = 0;
  for (const TokenBatch& each : batches) {
    round.passes.push_back(start(each));
    batch = std::max(batch, each.sequences);
    time = std::max(time, each.time);
  }
  make_room(batch, time, with_backward ? stage.in_flight(static_cast<Index>(batches.size())) : 1);
  if (links) links->begin(batches, with_backward, weight(layout.token_embedding));
  return round;
}

void Gpt::Impl::run(Round& round) {
  const auto start = std::chrono::steady_clock::now();
  const auto count = static_cast<Index>(round.batches.size());
  const std::vector<StageTask> tasks =
      round.backward ? one_forward_one_backward(stage, count) : forward_only(count);
  kernels::Gradients how = kernels::Gradients::add;
  for (const StageTask& task : tasks) {
    const auto micro = static_cast<std::size_t>(task.micro_batch);
    if (task.kind == StageTask::Kind::forward) {
      forward(round, micro);
      if (stage.last() && !round.backward) {
        round.loss += head(round.passes[micro], round.batches[micro].targets);
      }
      continue;
    }
    if (task.micro_batch == 0) how = start_gradients();
    if (stage.last()) {
      round.loss +=
          head_with_gradient(round.passes[micro], round.batches[micro].targets, round.scale, how);
    }
    backward(round, micro, how);
    how = kernels::Gradients::add;
  }
  end(round);
  pipeline_times.total = std::chrono::steady_clock::now() - start;
}

void Gpt::Impl::end(Round&) {
  if (!links) return;
  if (stage.last()) {
    links->rows().finish(late(), gradient(layout.token_embedding), links->waited());
  }
  links->finish();
  pipeline_times.waited = links->waited();
}

// The first pass of a step writes the matrices' gradients, which are nearly all of them, without
// reading what is there; the rest is zeroed for it. The token embedding is tied to the head, whose
// backward comes first.
kernels::Gradients Gpt::Impl::start_gradients() {
  if (!gradients_are_stale) return kernels::Gradients::add;
  gradients_are_stale = false;
  for (const ParameterGroup& group : layout.groups) {
    if (!group.decay) std::fill_n(gradients.data() + group.begin, group.size, 0.0f);
  }
  if (stage.first()) {
    std::fill_n(gradient(layout.position_embedding), config.block_size * config.width, 0.0f);
  }
  // A reduce-scatter leaves the other ranks' parts undefined.
  for (const Block& gap : layout.gaps) std::fill_n(gradient(gap.begin), gap.size, 0.0f);
  return kernels::Gradients::overwrite;
}

void Gpt::Impl::finish_zeroing() {
  if (!gradients_are_stale) return;
  gradients_are_stale = false;
  std::fill_n(gradients.data(), gradients.size(), 0.0f);
}
}  // namespace shoal::models
