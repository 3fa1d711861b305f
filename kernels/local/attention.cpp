#include <shoal/kernels/local/attention.hpp>

#include <algorithm>
#include <cmath>
#include <string>

#include <omp.h>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/signals_held.hpp>

#include "attention_kernels.hpp"
#include "gemm_check.hpp"
#include "philox_stream.hpp"
#include "scratch.hpp"

namespace shoal::kernels {
namespace {

// Wherever gemm multiplies bf16 in hardware, so does this, if the processor does it in AVX-512.
const AttentionKernels& kernels_for(const AttentionHead& head) {
#if defined(SHOAL_SIMD_HAS_AVX512_BF16)
  constexpr Index lanes = 16;
  if (head.round_bf16 && head.head_dim % lanes == 0 && selected_isa() == Isa::avx512 &&
      has_avx512_bf16() && multiplies_bf16()) {
    return avx512_bf16::attention_kernels;
  }
#endif
  return SHOAL_SELECT_KERNELS(attention_kernels);
}

void check(const AttentionShape& s) {
  const Index total = s.total_heads == 0 ? s.heads : s.total_heads;
  if (s.batch < 0 || s.time < 0 || s.heads < 0 || s.head_dim < 0 ||
      static_cast<Index>(s.first_head) + s.heads > total) {
    throw Error("attention",
                "batch " + std::to_string(s.batch) + ", time " + std::to_string(s.time) +
                    ", heads " + std::to_string(s.first_head) + " to " +
                    std::to_string(static_cast<Index>(s.first_head) + s.heads) + " of " +
                    std::to_string(total) + ", head_dim " + std::to_string(s.head_dim),
                "pass extents of 0 or more, and heads within total_heads");
  }
}

// What the heads have in common; head_at fills in the rest.
struct Heads {
  AttentionShape shape;
  const float* qkv;
  AttentionHead common;

  AttentionHead at(Index item) const {
    AttentionHead head = common;
    head.q = qkv + offset(item);
    head.k = head.q + shape.heads * shape.head_dim;
    head.v = head.k + shape.heads * shape.head_dim;
    const auto total =
        static_cast<std::uint64_t>(shape.total_heads == 0 ? shape.heads : shape.total_heads);
    const auto b = static_cast<std::uint64_t>(item / shape.heads);
    const auto h = static_cast<std::uint64_t>(item % shape.heads);
    const auto time = static_cast<std::uint64_t>(shape.time);
    head.first_element = ((shape.first_batch + b) * total + shape.first_head + h) * time * time;
    return head;
  }
  // Of a head's first query in qkv, and of its first row in out.
  Index offset(Index item) const {
    return item / shape.heads * shape.time * common.row + item % shape.heads * shape.head_dim;
  }
  Index out_offset(Index item) const {
    return item / shape.heads * shape.time * common.out_row + item % shape.heads * shape.head_dim;
  }
};

Heads describe(const AttentionShape& shape, const float* qkv, const Dropout& dropout,
               Precision precision) {
  const DropoutConstants constants = dropout_constants(dropout);
  AttentionHead common = {};
  common.time = shape.time;
  common.head_dim = shape.head_dim;
  common.out_row = shape.heads * shape.head_dim;
  common.row = 3 * common.out_row;
  common.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  common.round_bf16 = precision == Precision::bf16;
  common.drop = dropout.probability > 0;
  common.stream = philox_stream(dropout.key);
  common.threshold = constants.threshold;
  common.keep_scale = constants.scale;
  return {shape, qkv, common};
}

// Threads that so much work is worth waking for; at least one.
Index threads_worth(double flops) {
  constexpr double flops_worth_a_thread = 2e5;
  if (omp_in_parallel()) return 1;
  return std::clamp<Index>(static_cast<Index>(flops / flops_worth_a_thread), 1,
                           omp_get_max_threads());
}

Scratch& attention_scratch() {
  static thread_local Scratch scratch;
  return scratch;
}

// Calls work(item, scratch) for each item, on as many threads as are worth waking.
template <class Work>
void for_each_item(Index items, double flops, Index floats, const Work& work) {
  const int threads = static_cast<int>(std::min(threads_worth(flops), items));
  Scratch& scratch = attention_scratch();
  const Index stride = (floats + 15) / 16 * 16;
  float* const memory = scratch.get<float>(static_cast<std::size_t>(stride * threads));
  const SignalsHeld held;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
  for (Index item = 0; item < items; ++item) {
    work(item, memory + stride * (threads > 1 ? omp_get_thread_num() : 0));
  }
}

// The backward pass of one head by one thread, a block of query rows at a time.
void backward_by_blocks(const AttentionKernels& table, const AttentionHead& head,
                        const AttentionGradients& gradients, float* work) {
  table.prepare(head, gradients, 0, head.time, 1, work);
  for (Index begin = 0; begin < head.time; begin += attention_block) {
    const Index end = std::min(head.time, begin + attention_block);
    for (Index first = begin; first < end; first += attention_strip) {
      table.queries(head, gradients, first, begin, 1, work);
    }
    for (Index first = 0; first < end; first += attention_strip) {
      table.keys(head, first, begin, end, 1, work);
    }
  }
  table.finish(head, gradients, 0, head.time, 1, work);
}

// The backward pass of one head by several threads: some blocks of query rows at a time, whose strips they
// share out, and then the strips of the keys that get something from these.
void backward_by_strips(const AttentionHead& head, const AttentionGradients& gradients,
                        Index threads) {
  const AttentionKernels& table = kernels_for(head);
  const Index all_blocks = (head.time + attention_block - 1) / attention_block;
  // Four strips a thread, for they differ in length.
  const Index blocks = std::min((threads * attention_strip * 4 + attention_block - 1) / attention_block,
                                all_blocks);
  float* const work = attention_scratch().get<float>(
      static_cast<std::size_t>(attention_backward_work(head.time, head.head_dim, blocks)));
  const SignalsHeld held;
#pragma omp parallel num_threads(static_cast <int>(threads))
  {
    const auto for_each_block = [&](const auto& piece) {
#pragma omp for schedule(dynamic)
      for (Index block = 0; block < all_blocks; ++block) {
        const Index begin = block * attention_block;
        piece(head, gradients, begin, std::min(head.time, begin + attention_block), blocks, work);
      }
    };
    for_each_block(table.prepare);
    for (Index begin = 0; begin < head.time; begin += blocks * attention_block) {
      const Index end = std::min(head.time, begin + blocks * attention_block);
      // The longest ones first.
#pragma omp for schedule(dynamic)
      for (Index strip = (end - 1) / attention_strip; strip >= begin / attention_strip; --strip) {
        table.queries(head, gradients, strip * attention_strip, begin, blocks, work);
      }
#pragma omp for schedule(dynamic)
      for (Index strip = 0; strip < (end + attention_strip - 1) / attention_strip; ++strip) {
        table.keys(head, strip * attention_strip, begin, end, blocks, work);
      }
    }
    for_each_block(table.finish);
  }
}

double product_flops(const AttentionShape& s) {
  return static_cast<double>(s.batch * s.heads) * static_cast<double>(s.time) *
         static_cast<double>(s.time) * static_cast<double>(s.head_dim);
}

bool empty(const AttentionShape& s) {
  return s.batch == 0 || s.time == 0 || s.heads == 0 || s.head_dim == 0;
}

}  // namespace

void causal_attention_forward(const AttentionShape& shape, const float* qkv, float* out,
                              float* log_sum_exp, const Dropout& dropout, Precision precision) {
  check(shape);
  const Heads heads = describe(shape, qkv, dropout, precision);
  if (empty(shape)) return;
  const AttentionKernels& table = kernels_for(heads.common);
  const Index count = shape.batch * shape.heads;
  const Index blocks = (shape.time + attention_block - 1) / attention_block;
  // Heads are divided into blocks of rows only where there are too few of them for the threads:
  // each part gathers the keys and values anew.
  const Index parts = count < 2 * omp_get_max_threads() ? std::min<Index>(blocks, 4) : 1;
  for_each_item(count * parts, 2 * product_flops(shape),
                attention_forward_work(shape.time, shape.head_dim), [&](Index item, float* work) {
                  const Index head = item / parts;
                  table.forward(heads.at(head), item % parts, parts, out + heads.out_offset(head),
                                log_sum_exp + head * shape.time, work);
                });
}

void causal_attention_backward(const AttentionShape& shape, const float* qkv, const float* out,
                               const float* log_sum_exp, const float* dout, float* dqkv,
                               const Dropout& dropout, Precision precision) {
  check(shape);
  const Heads heads = describe(shape, qkv, dropout, precision);
  if (empty(shape)) return;
  const AttentionKernels& table = kernels_for(heads.common);
  const Index width = shape.heads * shape.head_dim;
  const auto gradients_of = [&](Index item) {
    float* const dq = dqkv + heads.offset(item);
    return AttentionGradients{out + heads.out_offset(item), log_sum_exp + item * shape.time,
                              dout + heads.out_offset(item), dq, dq + width, dq + 2 * width};
  };
  const Index count = shape.batch * shape.heads;
  const double flops = 5 * product_flops(shape);
  const Index threads = threads_worth(flops);
  // Where there are fewer heads than threads, all work on one head after the other.
  if (count < threads && shape.time > attention_block) {
    for (Index item = 0; item < count; ++item) {
      backward_by_strips(heads.at(item), gradients_of(item),
                         std::min<Index>(threads, threads_worth(flops / static_cast<double>(count))));
    }
    return;
  }
  for_each_item(count, flops, attention_backward_work(shape.time, shape.head_dim, 1),
                [&](Index item, float* work) {
                  backward_by_blocks(table, heads.at(item), gradients_of(item), work);
                });
}

}  // namespace shoal::kernels
