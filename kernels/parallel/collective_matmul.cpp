#include <shoal/kernels/parallel/collective_matmul.hpp>

#include <algorithm>
#include <vector>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/collectives/reduce_scatter.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::kernels {
namespace {

// Chunks of a rank's rows. The first to arrive and the last to leave hide behind nothing: with c chunks
// 1/c of the communication shows. A chunk has rows enough to be multiplied at full speed.
constexpr Index most_chunks = 4;
constexpr Index least_chunk_rows = 64;

// Ranks of a node that each have fewer rows than this bring them together first: a product of few rows is some tenth
// slower a row (oneDNN, 128 against 256 rows: 176 against 195 GFLOP/s in fp32, one core of an EPYC 9005), and
// makes its own copy of the weights ready each time. Copying the rows costs a hundredth of the product.
constexpr Index rows_for_a_product = 256;

bool few_rows(const Communicator& group, Index rows) {
  return group.on_one_node() && rows / group.size() < rows_for_a_product;
}

// Room for rows of others, or for terms of sums; kept, since fresh pages would cost a fault each.
float* rows_room(Index count) {
  static thread_local std::vector<float> room;
  if (room.size() < static_cast<std::size_t>(count)) room.resize(static_cast<std::size_t>(count));
  return room.data();
}

Index chunks_for(Index rows, Index ranks) {
  return std::clamp<Index>(rows / ranks / least_chunk_rows, 1, most_chunks);
}

// Addresses, here, of what the ranks of a node brought; empty where one of them is not shared. Nobody has
// them before all have come, so it is a barrier, too.
std::vector<float*> shared_parts(const Communicator& group, const float* mine, Index count) {
  if (!group.on_one_node()) return {};
  const auto location = node_memory::locate(mine);
  const std::int64_t place[2] = {location ? location->owner : (count == 0 ? -2 : -1),
                                 location ? static_cast<std::int64_t>(location->offset) : 0};
  std::vector<std::int64_t> places(2 * static_cast<std::size_t>(group.size()));
  all_gather(group, place, 2, places.data(), DType::i64);
  std::vector<float*> parts;
  for (std::size_t rank = 0; rank < places.size(); rank += 2) {
    if (places[rank] == -1) return {};
    parts.push_back(places[rank] < 0 ? nullptr
                                     : static_cast<float*>(node_memory::address(
                                           {static_cast<std::int32_t>(places[rank]),
                                            static_cast<std::uint64_t>(places[rank + 1])})));
  }
  parts[static_cast<std::size_t>(group.rank())] = const_cast<float*>(mine);
  return parts;
}

// c[m×n] = x[m×k]·op(W) + beta·c.
void weigh(Index m, Index n, Index k, const float* x, Trans tw, const float* w, float beta, float* c,
           Precision precision) {
  const trace::Span span("collective matmul", trace::Category::compute);
  gemm(Trans::no, tw, m, n, k, 1.0f, x, k, w, tw == Trans::no ? n : k, beta, c, n, precision);
}

Block rows_of(const Communicator& group, Index rows, Rank rank) {
  return block_of(rows, group.size(), rank);
}

// Chunk `chunk` of the rows of each rank: elements of `width` columns.
std::vector<Index> chunk_counts(const Communicator& group, Index rows, Index width, Index chunks,
                                Index chunk) {
  std::vector<Index> counts;
  for (Rank rank = 0; rank < group.size(); ++rank) {
    counts.push_back(block_of(rows_of(group, rows, rank).size, chunks, chunk).size * width);
  }
  return counts;
}

Index sum_of_counts(const std::vector<Index>& counts) {
  Index sum = 0;
  for (const Index count : counts) sum += count;
  return sum;
}

// The rank whose turn comes `step` turns after this one: all ranks are busy with different rows.
Rank turn(const Communicator& group, int step) { return (group.rank() + step) % group.size(); }

}  // namespace

void all_gather_matmul(const Communicator& group, Index rows, Index n, Index k, const float* x,
                       Trans tw, const float* w, float* y, Precision precision) {
  if (few_rows(group, rows)) {
    float* const all = rows_room(rows * k);
    all_gather(group, x, all, chunk_counts(group, rows, k, 1, 0), DType::f32);
    weigh(rows, n, k, all, tw, w, 0, y, precision);
    return;
  }
  const Index mine = rows_of(group, rows, group.rank()).size;
  const std::vector<float*> parts = shared_parts(group, x, mine * k);
  if (!parts.empty()) {
    for (int step = 0; step < group.size(); ++step) {
      const Rank rank = turn(group, step);
      const Block block = rows_of(group, rows, rank);
      weigh(block.size, n, k, parts[static_cast<std::size_t>(rank)], tw, w, 0, y + block.begin * n,
            precision);
    }
    barrier(group);  // x may change once all have read it
    return;
  }
  const Index chunks = chunks_for(rows, group.size());
  std::vector<float> gathered[2];
  Work arrival[2];
  const auto start = [&](Index chunk) {
    const std::vector<Index> counts = chunk_counts(group, rows, k, chunks, chunk);
    auto& room = gathered[chunk % 2];
    room.resize(static_cast<std::size_t>(sum_of_counts(counts)));
    arrival[chunk % 2] = start_all_gather(group, x + block_of(mine, chunks, chunk).begin * k,
                                          room.data(), counts, DType::f32);
  };
  start(0);
  for (Index chunk = 0; chunk < chunks; ++chunk) {
    arrival[chunk % 2].wait();
    if (chunk + 1 < chunks) start(chunk + 1);
    const float* from = gathered[chunk % 2].data();
    for (Rank rank = 0; rank < group.size(); ++rank) {
      const Block block = rows_of(group, rows, rank);
      const Block part = block_of(block.size, chunks, chunk);
      weigh(part.size, n, k, from, tw, w, 0, y + (block.begin + part.begin) * n, precision);
      from += part.size * k;
    }
  }
}

void matmul_reduce_scatter(const Communicator& group, Index rows, Index n, Index k, const float* x,
                           Trans tw, const float* w, float* y, Precision precision) {
  if (few_rows(group, rows)) {
    float* const terms = rows_room(rows * n);
    weigh(rows, n, k, x, tw, w, 0, terms, precision);
    reduce_scatter(group, terms, y, chunk_counts(group, rows, n, 1, 0), DType::f32, ReduceOp::sum);
    return;
  }
  const Index mine = rows_of(group, rows, group.rank()).size;
  const std::vector<float*> parts = shared_parts(group, y, mine * n);
  if (!parts.empty()) {
    // Each turn a rank has rows of another owner, and adds its product to what the one before it left
    // there: the product's own addition is the reduction.
    for (int step = 0; step < group.size(); ++step) {
      const Rank owner = turn(group, step + 1);
      const Block block = rows_of(group, rows, owner);
      weigh(block.size, n, k, x + block.begin * k, tw, w, step == 0 ? 0.0f : 1.0f,
            parts[static_cast<std::size_t>(owner)], precision);
      barrier(group);
    }
    return;
  }
  const Index chunks = chunks_for(rows, group.size());
  std::vector<float> terms[2];
  Work departure[2];
  for (Index chunk = 0; chunk < chunks; ++chunk) {
    const std::vector<Index> counts = chunk_counts(group, rows, n, chunks, chunk);
    departure[chunk % 2].wait();
    auto& room = terms[chunk % 2];
    room.resize(static_cast<std::size_t>(sum_of_counts(counts)));
    float* to = room.data();
    for (Rank rank = 0; rank < group.size(); ++rank) {
      const Block block = rows_of(group, rows, rank);
      const Block part = block_of(block.size, chunks, chunk);
      weigh(part.size, n, k, x + (block.begin + part.begin) * k, tw, w, 0, to, precision);
      to += part.size * n;
    }
    departure[chunk % 2] =
        start_reduce_scatter(group, room.data(), y + block_of(mine, chunks, chunk).begin * n,
                             counts, DType::f32, ReduceOp::sum);
  }
  for (Work& work : departure) work.wait();
}

void gathered_product(const Communicator& group, Gathered which, Index rows, Index m, Index n,
                      const float* a, const float* b, float beta, float* c, Precision precision) {
  const bool left = which == Gathered::left;
  const Index width = left ? m : n;
  const Index mine = rows_of(group, rows, group.rank()).size;
  std::vector<float*> parts;
  if (!few_rows(group, rows)) parts = shared_parts(group, left ? a : b, mine * width);
  if (parts.empty()) {
    float* const all = rows_room(rows * width);
    all_gather(group, left ? a : b, all, chunk_counts(group, rows, width, 1, 0), DType::f32);
    const trace::Span span("gathered product", trace::Category::compute);
    // One product over all rows.
    gemm(Trans::yes, Trans::no, m, n, rows, 1.0f, left ? all : a, m, left ? b : all, n, beta, c, n,
         precision);
    return;
  }
  for (int step = 0; step < group.size(); ++step) {
    const trace::Span span("gathered product", trace::Category::compute);
    const Rank rank = turn(group, step);
    const Block block = rows_of(group, rows, rank);
    const float* part = parts[static_cast<std::size_t>(rank)];
    const float keep = step == 0 ? beta : 1.0f;
    gemm(Trans::yes, Trans::no, m, n, block.size, 1.0f, left ? part : a + block.begin * m, m,
         left ? b + block.begin * n : part, n, keep, c, n, precision);
  }
  barrier(group);
}

}  // namespace shoal::kernels
