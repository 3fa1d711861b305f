// A tensor keeps its value through every change of placement.
#include <gtest/gtest.h>

#include <cstring>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/redistribute.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "elements.hpp"

namespace shoal::testing {
namespace {

using Kind = Placement::Kind;

// Terms that reduce to the value: for min and max the last rank has it, the others more or less.
double term_of(double value, const Placement& placement, int ranks, Rank rank) {
  if (placement.kind != Kind::partial) return value;
  switch (placement.op) {
    case ReduceOp::sum: return rank == 0 ? value - (ranks - 1) : 1;
    case ReduceOp::prod: return rank == ranks - 1 ? value : 1;
    case ReduceOp::min: return rank == ranks - 1 ? value : value + 1 + rank;
    case ReduceOp::max: return rank == ranks - 1 ? value : value - 1 - rank;
    case ReduceOp::avg: return rank == 0 ? value * ranks - 2 * (ranks - 1) : 2;
  }
  return value;
}

// The value of the tensor [a, b, c] at an index: a whole number, so that sums are exact.
double value_at(Index i, Index j, Index k) { return static_cast<double>(i * 100 + j * 10 + k + 7); }

// This rank's part of a tensor that is placed over axes, outer first. Ranges along each dimension.
struct Part {
  Block range[3];
  explicit Part(const Shape& global) {
    for (int d = 0; d < 3; ++d) range[d] = {0, global[d]};
  }
  void place(const Placement& placement, int ranks, Rank rank) {
    if (placement.kind != Kind::shard) return;
    Block& r = range[placement.dim];
    const Block mine = block_of(r.size, ranks, rank);
    r = {r.begin + mine.begin, mine.size};
  }
  Shape shape() const { return {range[0].size, range[1].size, range[2].size}; }
  template <class F>
  void each(F&& f) const {
    Index n = 0;
    for (Index i = 0; i < range[0].size; ++i) {
      for (Index j = 0; j < range[1].size; ++j) {
        for (Index k = 0; k < range[2].size; ++k) {
          f(n++, value_at(range[0].begin + i, range[1].begin + j, range[2].begin + k));
        }
      }
    }
  }
};

std::vector<Placement> placements() {
  std::vector<Placement> all{Replicate(), Shard(0), Shard(1), Shard(2)};
  for (const ReduceOp op : all_reduce_ops) all.push_back(Partial(op));
  return all;
}

// Whatever `to` is, `result` must stand for the tensor: terms are reduced with plain arithmetic.
template <class T>
void expect_stands_for(const Communicator& axis, const Shape& global, const Buffer<T>& result,
                       const Placement& to) {
  Part part(global);
  part.place(to, axis.size(), axis.rank());
  Buffer<T> whole(part.shape().size());
  const Shape local = part.shape();
  std::copy_n(result.data(), local.size(), whole.data());
  if (to.kind == Kind::partial) {
    all_reduce(axis, std::span(whole.data(), static_cast<std::size_t>(local.size())), to.op,
               {"mpi"});
  }
  part.each([&](Index n, double value) { ASSERT_EQ(static_cast<double>(whole[n]), value) << n; });
}

template <class T>
void all_transitions(const Shape& global) {
  const Communicator& axis = world();
  for (const Placement& from : placements()) {
    for (const Placement& to : placements()) {
      SCOPED_TRACE(from.text() + " to " + to.text() + " of " + global.text());
      Part part(global);
      part.place(from, axis.size(), axis.rank());
      Buffer<T> source(part.shape().size());
      part.each([&](Index n, double value) {
        source[n] = static_cast<T>(term_of(value, from, axis.size(), axis.rank()));
      });
      const Shape target_shape = local_shape(global, to, axis.size(), axis.rank());
      Buffer<T> target(target_shape.size());
      std::fill(target.begin(), target.end(), T(-99));
      redistribute(axis, global, View<const T>(source.data(), part.shape()), from,
                   View<T>(target.data(), target_shape), to);
      expect_stands_for(axis, global, target, to);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Redistribute, EveryTransitionKeepsTheTensor) {
  all_transitions<float>({5, 3, 7});
  all_transitions<std::int64_t>({4, 9, 1});
  all_transitions<double>({2, 0, 3});
  all_transitions<float>({40, 16, 33});
}

TEST(Redistribute, MeshesWithTwoAxes) {
  const int ranks = world().size();
  if (ranks % 2 != 0) return;
  const Mesh mesh(world(), MeshShape{{{"dp", ranks / 2}, {"tp", 2}}});
  const Communicator& dp = mesh.axis("dp");
  const Communicator& tp = mesh.axis("tp");
  const Shape global{5, 6, 7};
  const std::vector<Placement> choices{Replicate(), Shard(0), Shard(2), Partial(ReduceOp::sum)};
  const auto part_of = [&](const std::vector<Placement>& placed) {
    Part part(global);
    part.place(placed[0], dp.size(), dp.rank());
    part.place(placed[1], tp.size(), tp.rank());
    return part;
  };
  for (const Placement& from_dp : choices) {
    for (const Placement& from_tp : choices) {
      for (const Placement& to_dp : choices) {
        for (const Placement& to_tp : choices) {
          const std::vector<Placement> from{from_dp, from_tp}, to{to_dp, to_tp};
          SCOPED_TRACE(from_dp.text() + ", " + from_tp.text() + " to " + to_dp.text() + ", " +
                       to_tp.text());
          const Part before = part_of(from);
          ASSERT_EQ(local_shape(mesh, global, from), before.shape());
          Buffer<double> source(before.shape().size());
          before.each([&](Index n, double value) {
            source[n] = term_of(term_of(value, from_dp, dp.size(), dp.rank()), from_tp, tp.size(),
                                tp.rank());
          });
          const Part after = part_of(to);
          Buffer<double> target(after.shape().size());
          std::fill(target.begin(), target.end(), -99.0);
          redistribute(mesh, global, View<const double>(source.data(), before.shape()), from,
                       View<double>(target.data(), after.shape()), to);
          if (to_tp.kind == Kind::partial) all_reduce(tp, target.span(), ReduceOp::sum, {"mpi"});
          if (to_dp.kind == Kind::partial) all_reduce(dp, target.span(), ReduceOp::sum, {"mpi"});
          after.each([&](Index n, double value) { ASSERT_EQ(target[n], value) << n; });
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Redistribute, WrongShapesAndDimensionsAreErrors) {
  const Shape global{4, 6};
  Buffer<float> a(24), b(24);
  const View<const float> source(a.data(), global);
  const auto move = [&](const View<float>& target, const Placement& to) {
    redistribute(world(), global, source, Replicate(), target, to);
  };
  EXPECT_THROW(move(View<float>(b.data(), {6, 4}), Replicate()), Error);
  EXPECT_THROW(move(View<float>(b.data(), {4, 5}), Replicate()), Error);
  EXPECT_THROW(move(View<float>(b.data(), {4, 3}, {6, 2}), Replicate()), Error);
  EXPECT_THROW(move(View<float>(b.data(), global), Shard(2)), Error);
  EXPECT_THROW(move(View<float>(b.data(), global), Shard(-1)), Error);
  EXPECT_THROW(move(View<float>(a.data(), global), Replicate()), Error);
  move(View<float>(b.data(), global), Replicate());
}

}  // namespace
}  // namespace shoal::testing
