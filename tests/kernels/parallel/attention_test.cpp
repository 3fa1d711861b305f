// Law: attention with its heads divided over ranks equals its serial twin, with and without dropout;
// heads that do not divide are refused.
#include <shoal/kernels/parallel/attention.hpp>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>

#include "twin.hpp"

namespace shoal::testing {
namespace {

using kernels::Dropout;
using kernels::HeadParallelAttention;
using kernels::Precision;

constexpr Index batch = 2;
constexpr Index time = 19;
constexpr Index head_dim = 8;
constexpr Index rows = batch * time;

struct Result {
  Matrix y, dx, dqkv_weight, dqkv_bias, dproj_weight, dproj_bias;
};

// The rows of [3, heads, head_dim] (by `cols`) that belong to a block of heads.
Matrix qkv_rows(const Matrix& whole, Index heads, Index cols, Block block) {
  Matrix part;
  for (Index which = 0; which < 3; ++which) {
    const Matrix rows_of_one =
        rows_of(whole, cols,
                {(which * heads + block.begin) * head_dim, block.size * head_dim});
    part.insert(part.end(), rows_of_one.begin(), rows_of_one.end());
  }
  return part;
}

struct Problem {
  Index heads, width;
  Matrix x, dy, qkv_weight, qkv_bias, proj_weight, proj_bias;

  explicit Problem(Index head_count) : heads(head_count), width(head_count * head_dim) {
    std::mt19937_64 random = generator();
    x = random_matrix(random, rows * width);
    dy = random_matrix(random, rows * width);
    qkv_weight = random_matrix(random, 3 * width * width);
    qkv_bias = random_matrix(random, 3 * width);
    proj_weight = random_matrix(random, width * width);
    proj_bias = random_matrix(random, width);
    // Scores of order one: softmax is then neither flat nor one-hot.
    for (float& value : qkv_weight) value /= std::sqrt(static_cast<float>(width));
  }

  Result run(const Communicator& group, const Dropout& dropout) const {
    const HeadParallelAttention layer(group, width, heads, Precision::fp32);
    const Block block = block_of(heads, group.size(), group.rank());
    const Block cols{block.begin * head_dim, block.size * head_dim};
    const Matrix w = qkv_rows(qkv_weight, heads, width, block);
    const Matrix b = qkv_rows(qkv_bias, heads, 1, block);
    const Matrix pw = cols_of(proj_weight, width, cols);
    Matrix qkv = poisoned(rows * 3 * cols.size);
    Matrix attended = poisoned(rows * cols.size);
    Matrix log_sum_exp = poisoned(batch * block.size * time);
    const Buffer<float> y(rows * width, Memory::node_shared);
    const Buffer<float> dx(rows * width, Memory::node_shared);
    Matrix dw(w.size()), db(b.size()), dpw(pw.size()), dpb(proj_bias.size());
    Matrix dqkv = poisoned(rows * 3 * cols.size);
    Matrix dattended = poisoned(rows * cols.size);
    const HeadParallelAttention::Weights<const float> weights{w.data(), b.data(), pw.data(),
                                                              proj_bias.data()};
    const HeadParallelAttention::Saved saved{qkv.data(), attended.data(), log_sum_exp.data()};
    layer.forward(batch, time, x.data(), weights, saved, y.data(), dropout, 5);
    layer.backward(batch, time, x.data(), weights, saved, dy.data(), dx.data(),
                   {dw.data(), db.data(), dpw.data(), dpb.data()}, dqkv.data(), dattended.data(),
                   dropout, 5);
    return {Matrix(y.begin(), y.end()), Matrix(dx.begin(), dx.end()), dw, db, dpw, dpb};
  }
};

class ParallelAttention : public ::testing::TestWithParam<float> {};

TEST_P(ParallelAttention, EqualsTwin) {
  const Problem problem(2 * world().size());
  const Dropout dropout{GetParam(), {seed(), 3, 7}};
  const Communicator self = alone();
  const Result twin = problem.run(self, dropout);
  const Result mine = problem.run(world(), dropout);
  const Block block = block_of(problem.heads, world().size(), world().rank());
  const Index width = problem.width;
  const Index length = 8 * width;  // several products follow one another
  expect_close(mine.y, twin.y, length, "y");
  expect_close(mine.dx, twin.dx, length, "dx");
  expect_close(mine.dqkv_weight, qkv_rows(twin.dqkv_weight, problem.heads, width, block), length,
               "dqkv_weight");
  expect_close(mine.dqkv_bias, qkv_rows(twin.dqkv_bias, problem.heads, 1, block), length,
               "dqkv_bias");
  expect_close(mine.dproj_weight,
               cols_of(twin.dproj_weight, width, {block.begin * head_dim, block.size * head_dim}),
               length, "dproj_weight");
  expect_close(mine.dproj_bias, twin.dproj_bias, length, "dproj_bias");
}

INSTANTIATE_TEST_SUITE_P(Dropout, ParallelAttention, ::testing::Values(0.0f, 0.3f));

TEST(ParallelAttentionErrors, RefusesHeadsThatDoNotDivide) {
  const Communicator self = alone();
  EXPECT_THROW(HeadParallelAttention(self, 10, 3, Precision::fp32), UsageError);
  if (world().size() > 1) {
    const Index heads = world().size() + 1;
    EXPECT_THROW(HeadParallelAttention(world(), 8 * heads, heads, Precision::fp32), UsageError);
  }
}

}  // namespace
}  // namespace shoal::testing
