#include <shoal/collectives/redistribute.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/all_to_all.hpp>
#include <shoal/collectives/reduce_scatter.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal {
namespace {

using Kind = Placement::Kind;

// A dense tensor seen along one dimension: outer × extent × inner elements, in bytes.
struct Along {
  Bytes outer = 1;
  Index extent = 1;
  Bytes inner = 1;  // bytes of one step along the dimension

  Along(const Shape& shape, int dim, Bytes element) : extent(shape[dim]), inner(element) {
    for (int d = 0; d < dim; ++d) outer *= static_cast<Bytes>(shape[d]);
    for (int d = dim + 1; d < shape.dims(); ++d) inner *= static_cast<Bytes>(shape[d]);
  }
};

void copy_bytes(void* to, const void* from, Bytes bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

// Copies a range along a dimension from one dense tensor to another; the two have the same outer and
// inner parts.
void copy_range(const Along& from, Index from_begin, const void* source, const Along& to,
                Index to_begin, void* target, Index length) {
  const Bytes run = static_cast<Bytes>(length) * from.inner;
  if (run == 0) return;
  for (Bytes o = 0; o < from.outer; ++o) {
    const Bytes in = (o * static_cast<Bytes>(from.extent) + static_cast<Bytes>(from_begin)) * from.inner;
    const Bytes out = (o * static_cast<Bytes>(to.extent) + static_cast<Bytes>(to_begin)) * to.inner;
    std::memcpy(static_cast<std::byte*>(target) + out,
                static_cast<const std::byte*>(source) + in, run);
  }
}

template <class T>
void fill(void* data, Index count, T value) {
  std::fill_n(static_cast<T*>(data), count, value);
}

void fill_ones(void* data, Index count, DType type) {
  switch (type) {
    case DType::f32: return fill(data, count, 1.0f);
    case DType::f64: return fill(data, count, 1.0);
    case DType::bf16: return fill(data, count, to_bfloat16(1.0f));
    case DType::f16: return fill(data, count, to_float16(1.0f));
    case DType::i8: return fill(data, count, std::int8_t{1});
    case DType::i32: return fill(data, count, std::int32_t{1});
    case DType::i64: return fill(data, count, std::int64_t{1});
  }
}

// One redistribution over one axis.
struct Move {
  const Communicator& axis;
  const Shape& global;
  DType type;

  Bytes element() const { return size_of(type); }
  Bytes bytes(const Shape& shape) const { return static_cast<Bytes>(shape.size()) * element(); }
  Shape part(int dim, Rank rank) const {
    return local_shape(global, Shard(dim), axis.size(), rank);
  }
  Block block(int dim, Rank rank) const { return block_of(global[dim], axis.size(), rank); }

  void take_block(int dim, const void* whole, void* target) const {
    const Block mine = block(dim, axis.rank());
    copy_range(Along(global, dim, element()), mine.begin, whole,
               Along(part(dim, axis.rank()), dim, element()), 0, target, mine.size);
  }

  void gather(int dim, const void* source, void* whole) const {
    std::vector<Index> counts;
    for (Rank rank = 0; rank < axis.size(); ++rank) counts.push_back(part(dim, rank).size());
    if (dim == 0) return all_gather(axis, source, whole, counts, type);
    const Storage gathered(bytes(global), Memory::node_shared);
    all_gather(axis, source, gathered.data(), counts, type);
    const std::byte* from = gathered.data();
    for (Rank rank = 0; rank < axis.size(); ++rank) {
      const Block theirs = block(dim, rank);
      copy_range(Along(part(dim, rank), dim, element()), 0, from, Along(global, dim, element()),
                 theirs.begin, whole, theirs.size);
      from += bytes(part(dim, rank));
    }
  }

  void reduce_to_block(int dim, ReduceOp op, const void* partial, void* target) const {
    std::vector<Index> counts;
    const Storage packed(bytes(global), Memory::node_shared);
    std::byte* to = packed.data();
    for (Rank rank = 0; rank < axis.size(); ++rank) {
      const Shape theirs = part(dim, rank);
      const Block range = block(dim, rank);
      counts.push_back(theirs.size());
      copy_range(Along(global, dim, element()), range.begin, partial,
                 Along(theirs, dim, element()), 0, to, range.size);
      to += bytes(theirs);
    }
    reduce_scatter(axis, packed.data(), target, counts, type, op);
  }

  // Rank a's block along `from` meets rank b's block along `to` in what a sends to b.
  void exchange(int from, int to, const void* source, void* target) const {
    const Rank me = axis.rank();
    const Shape mine = part(from, me);
    const Shape result = part(to, me);
    std::vector<Index> send_counts;
    std::vector<Index> receive_counts;
    const Storage packed(bytes(mine), Memory::node_shared);
    const Storage received(bytes(result), Memory::node_shared);
    std::byte* out = packed.data();
    for (Rank rank = 0; rank < axis.size(); ++rank) {
      Shape piece = mine;
      const Block range = block(to, rank);
      piece[to] = range.size;
      copy_range(Along(mine, to, element()), range.begin, source, Along(piece, to, element()), 0,
                 out, range.size);
      out += bytes(piece);
      send_counts.push_back(piece.size());
      Shape expected = result;
      expected[from] = block(from, rank).size;
      receive_counts.push_back(expected.size());
    }
    all_to_all(axis, packed.data(), send_counts, received.data(), receive_counts, type);
    const std::byte* in = received.data();
    for (Rank rank = 0; rank < axis.size(); ++rank) {
      const Block range = block(from, rank);
      Shape piece = result;
      piece[from] = range.size;
      copy_range(Along(piece, from, element()), 0, in, Along(result, from, element()), range.begin,
                 target, range.size);
      in += bytes(piece);
    }
  }

  // In place: the whole tensor becomes this rank's term of a reduction.
  void become_term(ReduceOp op, void* whole) const {
    if (axis.rank() == 0) return;
    if (op == ReduceOp::sum && global.size() > 0) std::memset(whole, 0, bytes(global));
    if (op == ReduceOp::prod) fill_ones(whole, global.size(), type);
  }
};

void require_part(const void* data, const Shape& shape, const char* which) {
  if (data == nullptr && shape.size() > 0) {
    throw Error("redistribute", std::string("the ") + which + " is null, its part has shape " +
                                    shape.text());
  }
}

void require_apart(const void* source, Bytes source_bytes, const void* target, Bytes target_bytes) {
  const auto from = reinterpret_cast<std::uintptr_t>(source);
  const auto to = reinterpret_cast<std::uintptr_t>(target);
  if (source_bytes > 0 && target_bytes > 0 && from < to + target_bytes && to < from + source_bytes) {
    throw Error("redistribute", "source and target overlap", "pass separate buffers");
  }
}

void require_placement(const Shape& global, const Placement& placement, const char* which) {
  if (placement.kind == Kind::shard && (placement.dim < 0 || placement.dim >= global.dims())) {
    throw Error("redistribute", std::string(which) + " placement " + placement.text() +
                                    " names a dimension that a tensor of shape " + global.text() +
                                    " does not have");
  }
}

}  // namespace

Shape local_shape(const Shape& global, const Placement& placement, int ranks, Rank rank) {
  require_placement(global, placement, "the");
  Shape local = global;
  if (placement.kind == Kind::shard) {
    local[placement.dim] = block_of(global[placement.dim], ranks, rank).size;
  }
  return local;
}

void require_dense(const Shape& actual, bool contiguous, const Shape& expected,
                   const char* which) {
  if (actual == expected && contiguous) return;
  throw Error("redistribute",
              std::string("the ") + which + " has shape " + actual.text() +
                  (contiguous ? "" : " and is not dense") + ", its placement needs " +
                  expected.text(),
              "pass a dense view of local_shape()");
}

void redistribute(const Communicator& axis, const Shape& global, DType type, const void* source,
                  const Placement& from, void* target, const Placement& to) {
  require_placement(global, from, "the source's");
  require_placement(global, to, "the target's");
  const Move move{axis, global, type};
  const Shape source_shape = local_shape(global, from, axis.size(), axis.rank());
  const Shape target_shape = local_shape(global, to, axis.size(), axis.rank());
  require_part(source, source_shape, "source");
  require_part(target, target_shape, "target");
  require_apart(source, move.bytes(source_shape), target, move.bytes(target_shape));
  const bool same_kind = from.kind == to.kind;
  const bool same = same_kind && (from.kind != Kind::shard || from.dim == to.dim) &&
                    (from.kind != Kind::partial || from.op == to.op);
  if (same || (same_kind && axis.size() == 1)) {
    copy_bytes(target, source, move.bytes(source_shape));
    return;
  }
  switch (to.kind) {
    case Kind::replicate:
      if (from.kind == Kind::shard) return move.gather(from.dim, source, target);
      return all_reduce(axis, source, target, global.size(), type, from.op);
    case Kind::shard:
      if (from.kind == Kind::replicate) return move.take_block(to.dim, source, target);
      if (from.kind == Kind::shard) return move.exchange(from.dim, to.dim, source, target);
      return move.reduce_to_block(to.dim, from.op, source, target);
    case Kind::partial:
      if (from.kind == Kind::shard && to.op == ReduceOp::sum) {
        const Block mine = move.block(from.dim, axis.rank());
        if (global.size() > 0) std::memset(target, 0, move.bytes(global));
        copy_range(Along(move.part(from.dim, axis.rank()), from.dim, move.element()), 0, source,
                   Along(global, from.dim, move.element()), mine.begin, target, mine.size);
        return;
      }
      redistribute(axis, global, type, source, from, target, Replicate());
      return move.become_term(to.op, target);
  }
}

namespace {

void require_placements(const Mesh& mesh, const std::vector<Placement>& placements) {
  if (placements.size() != mesh.shape().axes.size()) {
    throw Error("redistribute",
                std::to_string(placements.size()) + " placements for mesh " + mesh.shape().text(),
                "pass one for each axis");
  }
}

// Shape of the part that the first `axes` axes leave to this rank.
Shape shape_within(const Mesh& mesh, const Shape& global, const std::vector<Placement>& placements,
                   std::size_t axes) {
  Shape shape = global;
  for (std::size_t i = 0; i < axes; ++i) {
    const Communicator& axis = mesh.axis(mesh.shape().axes[i].name);
    shape = local_shape(shape, placements[i], axis.size(), axis.rank());
  }
  return shape;
}

}  // namespace

Shape local_shape(const Mesh& mesh, const Shape& global,
                  const std::vector<Placement>& placements) {
  require_placements(mesh, placements);
  return shape_within(mesh, global, placements, placements.size());
}

void redistribute(const Mesh& mesh, const Shape& global, DType type, const void* source,
                  const std::vector<Placement>& from, void* target,
                  const std::vector<Placement>& to) {
  require_placements(mesh, from);
  require_placements(mesh, to);
  const std::size_t axes = from.size();
  std::size_t first = 0;
  while (first < axes && from[first] == to[first]) ++first;
  const Bytes element = size_of(type);
  const Shape source_shape = local_shape(mesh, global, from);
  const Shape target_shape = local_shape(mesh, global, to);
  require_part(source, source_shape, "source");
  require_part(target, target_shape, "target");
  require_apart(source, static_cast<Bytes>(source_shape.size()) * element, target,
                static_cast<Bytes>(target_shape.size()) * element);

  std::vector<Placement> now = from;
  Storage current;
  const void* data = source;
  const auto step = [&](std::size_t i, const Placement& next) {
    if (now[i] == next) return;
    const Communicator& axis = mesh.axis(mesh.shape().axes[i].name);
    const Shape within = shape_within(mesh, global, now, i);
    const Shape result = local_shape(within, next, axis.size(), axis.rank());
    Storage moved(static_cast<Bytes>(result.size()) * element, Memory::node_shared);
    redistribute(axis, within, type, data, now[i], moved.data(), next);
    now[i] = next;
    current = std::move(moved);
    data = current.data();
  };
  // Inner axes divide what outer ones left them, so they give way before an outer axis moves.
  for (std::size_t i = axes; i-- > first + 1;) step(i, Replicate());
  for (std::size_t i = first; i < axes; ++i) step(i, to[i]);
  copy_bytes(target, data, static_cast<Bytes>(target_shape.size()) * element);
}

}  // namespace shoal
