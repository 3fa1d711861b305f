#include <shoal/kernels/local/attention.hpp>

#include <algorithm>
#include <array>
#include <cmath>

#include <shoal/kernels/local/convert.hpp>
#include <shoal/runtime/error.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

using Doubles = std::vector<double>;

// The factor (0 or 1/(1 − p)) of each probability, by the published index.
Doubles mask_of(const AttentionShape& s, const Dropout& dropout) {
  const Index total = s.total_heads == 0 ? s.heads : s.total_heads;
  Doubles mask;
  const std::vector<float> ones(static_cast<std::size_t>(s.time * s.time), 1.0f);
  auto part = ones;
  for (Index b = 0; b < s.batch; ++b) {
    for (Index h = 0; h < s.heads; ++h) {
      const std::uint64_t head =
          (s.first_batch + static_cast<std::uint64_t>(b)) * static_cast<std::uint64_t>(total) +
          s.first_head + static_cast<std::uint64_t>(h);
      dropout_forward(dropout, head * static_cast<std::uint64_t>(s.time * s.time), s.time * s.time,
                      ones.data(), part.data());
      mask.insert(mask.end(), part.begin(), part.end());
    }
  }
  return mask;
}

Doubles reference(const AttentionShape& s, const Doubles& qkv, const Doubles& mask,
                  Doubles* log_sum_exp = nullptr) {
  const Index width = s.heads * s.head_dim;
  Doubles out(static_cast<std::size_t>(s.batch * s.time * width));
  Doubles p(static_cast<std::size_t>(s.time));
  for (Index b = 0; b < s.batch; ++b) {
    for (Index h = 0; h < s.heads; ++h) {
      const double* q = qkv.data() + b * s.time * 3 * width + h * s.head_dim;
      const double* k = q + width;
      const double* v = k + width;
      const double* m = mask.data() + (b * s.heads + h) * s.time * s.time;
      for (Index i = 0; i < s.time; ++i) {
        double sum = 0;
        for (Index j = 0; j <= i; ++j) {
          double score = 0;
          for (Index d = 0; d < s.head_dim; ++d)
            score += q[i * 3 * width + d] * k[j * 3 * width + d];
          p[static_cast<std::size_t>(j)] =
              std::exp(score / std::sqrt(static_cast<double>(s.head_dim)));
          sum += p[static_cast<std::size_t>(j)];
        }
        if (log_sum_exp != nullptr) log_sum_exp->push_back(std::log(sum));
        for (Index d = 0; d < s.head_dim; ++d) {
          double value = 0;
          for (Index j = 0; j <= i; ++j) {
            value +=
                p[static_cast<std::size_t>(j)] / sum * m[i * s.time + j] * v[j * 3 * width + d];
          }
          out[static_cast<std::size_t>((b * s.time + i) * width + h * s.head_dim + d)] = value;
        }
      }
    }
  }
  return out;
}

struct Result {
  std::vector<float> out, log_sum_exp, dqkv;
};

Result run(const AttentionShape& s, const std::vector<float>& qkv, const std::vector<float>& dout,
           const Dropout& dropout, Precision precision = Precision::fp32) {
  Result r{poisoned(static_cast<Index>(dout.size())), poisoned(s.batch * s.heads * s.time),
           poisoned(static_cast<Index>(qkv.size()))};
  causal_attention_forward(s, qkv.data(), r.out.data(), r.log_sum_exp.data(), dropout, precision);
  causal_attention_backward(s, qkv.data(), r.out.data(), r.log_sum_exp.data(), dout.data(),
                            r.dqkv.data(), dropout, precision);
  return r;
}

const Dropout dropped{0.25f, {11, 12, 13}};

class Attention : public ::testing::TestWithParam<std::array<Index, 4>> {
 protected:
  AttentionShape shape() const {
    const auto [batch, time, heads, dim] = GetParam();
    return {batch, time, heads, dim, 3, 2, heads + 5};
  }
};
INSTANTIATE_TEST_SUITE_P(
    Shapes, Attention,
    ::testing::Values(std::array<Index, 4>{1, 1, 1, 1}, std::array<Index, 4>{2, 7, 3, 5},
                      std::array<Index, 4>{1, 9, 1, 8}, std::array<Index, 4>{2, 64, 2, 32},
                      std::array<Index, 4>{1, 65, 1, 48}, std::array<Index, 4>{1, 150, 2, 17},
                      std::array<Index, 4>{1, 257, 1, 64}, std::array<Index, 4>{1, 700, 2, 8}));

TEST_P(Attention, ForwardAgreesWithFp64) {
  auto random = testing::generator();
  const AttentionShape s = shape();
  const auto qkv =
      testing::uniform<float>(random, s.batch * s.time * 3 * s.heads * s.head_dim, -2, 2);
  const std::vector<float> dout(qkv.size() / 3, 0.0f);
  for (const Dropout& dropout : {Dropout{}, dropped}) {
    Doubles log_sum_exp;
    const Doubles expected = reference(s, widen(qkv), mask_of(s, dropout), &log_sum_exp);
    const Result fp32 = run(s, qkv, dout, dropout);
    const double tolerance = epsilon32 * (32 + 4 * static_cast<double>(s.head_dim));
    expect_near(fp32.out, expected, tolerance);
    expect_near(fp32.log_sum_exp, log_sum_exp, tolerance);
    for (const float v : fp32.dqkv) ASSERT_EQ(v, 0.0f);
    // Each of q, k, v and p is off by 2^-9 at most, relatively; scores are up to 4·√head_dim.
    const Result bf16 = run(s, qkv, dout, dropout, Precision::bf16);
    expect_near(bf16.out, expected, 0.03 * std::sqrt(static_cast<double>(s.head_dim)));
  }
}

// Operands that are bf16 from the start lose nothing, so that only the probabilities and the
// gradients of the scores are rounded: each by 2^-9 relatively, 2^-8 with what follows from it.
TEST_P(Attention, Bf16RoundsNothingButItsOperands) {
  auto random = testing::generator();
  const AttentionShape s = shape();
  const Index width = s.heads * s.head_dim, row = 3 * width;
  const auto of_bf16 = [](std::vector<float> x) {
    std::vector<bfloat16> rounded(x.size());
    convert(static_cast<Index>(x.size()), x.data(), rounded.data());
    convert(static_cast<Index>(x.size()), rounded.data(), x.data());
    return x;
  };
  const auto qkv = of_bf16(testing::uniform<float>(random, s.batch * s.time * row, -1, 1));
  const auto dout = of_bf16(testing::uniform<float>(random, s.batch * s.time * width, -1, 1));
  const double off = std::ldexp(1.0, -8);
  for (const Dropout& dropout : {Dropout{}, dropped}) {
    const Doubles mask = mask_of(s, dropout);
    const Result r = run(s, qkv, dout, dropout, Precision::bf16);
    Doubles out(r.out.size()), out_off(out), gradient(r.dqkv.size()), gradient_off(gradient);
    Doubles p(static_cast<std::size_t>(s.time)), dp(p);
    for (Index b = 0; b < s.batch; ++b) {
      for (Index h = 0; h < s.heads; ++h) {
        const auto at = [&](Index t, Index which, Index d) {
          return static_cast<std::size_t>((b * s.time + t) * row + which * width + h * s.head_dim + d);
        };
        const auto out_at = [&](Index t, Index d) {
          return static_cast<std::size_t>((b * s.time + t) * width + h * s.head_dim + d);
        };
        const auto value = [&](Index t, Index which, Index d) {
          return static_cast<double>(qkv[at(t, which, d)]);
        };
        const double scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
        for (Index i = 0; i < s.time; ++i) {
          double sum = 0;
          for (Index j = 0; j <= i; ++j) {
            double score = 0;
            for (Index d = 0; d < s.head_dim; ++d) score += value(i, 0, d) * value(j, 1, d);
            sum += p[static_cast<std::size_t>(j)] = std::exp(score * scale);
          }
          double dot = 0, dot_off = 0;
          for (Index j = 0; j <= i; ++j) {
            double& mine = p[static_cast<std::size_t>(j)];
            mine /= sum;
            const double kept =
                mine *
                mask[static_cast<std::size_t>(((b * s.heads + h) * s.time + i) * s.time + j)];
            double& dmine = dp[static_cast<std::size_t>(j)];
            dmine = 0;
            for (Index d = 0; d < s.head_dim; ++d) {
              const double v = value(j, 2, d), g = static_cast<double>(dout[out_at(i, d)]);
              out[out_at(i, d)] += kept * v;
              out_off[out_at(i, d)] += off * kept * std::abs(v);
              gradient[at(j, 2, d)] += kept * g;
              gradient_off[at(j, 2, d)] += off * kept * std::abs(g);
              dmine += g * v;
              dot += kept * v * g;
              dot_off += off * kept * std::abs(v * g);
            }
            dmine *= mine > 0 ? kept / mine : 0;
          }
          for (Index j = 0; j <= i; ++j) {
            const double mine = p[static_cast<std::size_t>(j)] * scale;
            const double ds = mine * (dp[static_cast<std::size_t>(j)] - dot);
            const double ds_off = off * std::abs(ds) + mine * dot_off;
            for (Index d = 0; d < s.head_dim; ++d) {
              gradient[at(i, 0, d)] += ds * value(j, 1, d);
              gradient_off[at(i, 0, d)] += ds_off * std::abs(value(j, 1, d));
              gradient[at(j, 1, d)] += ds * value(i, 0, d);
              gradient_off[at(j, 1, d)] += ds_off * std::abs(value(i, 0, d));
            }
          }
        }
      }
    }
    // And the sums in fp32, of terms below 4.
    const double summed = epsilon32 * 8 * static_cast<double>(s.time + s.head_dim);
    for (std::size_t i = 0; i < out.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(r.out[i]), out[i], out_off[i] + summed) << i;
    }
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(r.dqkv[i]), gradient[i], gradient_off[i] + summed) << i;
    }
  }
}

// Along random directions: d/dε loss(qkv + ε·direction) = dqkv · direction.
TEST_P(Attention, BackwardIsTheGradient) {
  auto random = testing::generator();
  const AttentionShape s = shape();
  const auto qkv =
      testing::uniform<float>(random, s.batch * s.time * 3 * s.heads * s.head_dim, -2, 2);
  const auto dout = testing::uniform<float>(random, static_cast<Index>(qkv.size() / 3));
  const bool small = qkv.size() < 400;
  for (const Dropout& dropout : {Dropout{}, dropped}) {
    const Doubles mask = mask_of(s, dropout);
    const auto loss = [&](const Doubles& x) {
      const Doubles out = reference(s, x, mask);
      double sum = 0;
      for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * static_cast<double>(dout[i]);
      return sum;
    };
    const Result r = run(s, qkv, dout, dropout);
    if (small) {
      expect_near(r.dqkv, numeric_gradient(loss, widen(qkv)), 2e-5);
      continue;
    }
    for (int direction = 0; direction < 6; ++direction) {
      // q, k and v alone, then all.
      const auto along = testing::uniform<double>(random, static_cast<Index>(qkv.size()));
      const Index width = s.heads * s.head_dim;
      Doubles above = widen(qkv);
      Doubles below = above;
      double expected = 0;
      double size = 0;
      for (std::size_t i = 0; i < above.size(); ++i) {
        const Index part = static_cast<Index>(i) / width % 3;
        if (direction < 3 && part != direction) continue;
        above[i] += 1e-5 * along[i];
        below[i] -= 1e-5 * along[i];
        expected += along[i] * static_cast<double>(r.dqkv[i]);
        size += std::abs(along[i] * static_cast<double>(r.dqkv[i]));
      }
      EXPECT_NEAR(expected, (loss(above) - loss(below)) / 2e-5, 2e-6 * size + 1e-5);
    }
  }
}

TEST_P(Attention, SameForAnyThreads) {
  auto random = testing::generator();
  const AttentionShape s = shape();
  const auto qkv =
      testing::uniform<float>(random, s.batch * s.time * 3 * s.heads * s.head_dim, -2, 2);
  const auto dout = testing::uniform<float>(random, static_cast<Index>(qkv.size() / 3));
  expect_same_for_any_threads([&] {
    Result r = run(s, qkv, dout, dropped);
    r.out.insert(r.out.end(), r.log_sum_exp.begin(), r.log_sum_exp.end());
    r.out.insert(r.out.end(), r.dqkv.begin(), r.dqkv.end());
    return r.out;
  });
}

// A process with heads 2 and 3 of 4 and sequence 1 of 2 computes its part of the whole, dropout
// too.
TEST(AttentionShards, PartsEqualTheWhole) {
  auto random = testing::generator();
  const AttentionShape whole{2, 70, 4, 16};
  const AttentionShape part{1, 70, 2, 16, 1, 2, 4};
  const auto qkv = testing::uniform<float>(random, 2 * 70 * 3 * 64, -2, 2);
  const auto dout = testing::uniform<float>(random, 2 * 70 * 64);
  std::vector<float> part_qkv;
  std::vector<float> part_dout;
  const auto copy_part = [](const std::vector<float>& from, Index groups, std::vector<float>& to) {
    for (Index g = groups / 2; g < groups; ++g) {
      to.insert(to.end(), from.begin() + g * 64 + 32, from.begin() + g * 64 + 64);
    }
  };
  copy_part(qkv, 2 * 70 * 3, part_qkv);
  copy_part(dout, 2 * 70, part_dout);
  const Result all = run(whole, qkv, dout, dropped);
  const Result some = run(part, part_qkv, part_dout, dropped);
  std::vector<float> expected_out;
  std::vector<float> expected_dqkv;
  copy_part(all.out, 2 * 70, expected_out);
  copy_part(all.dqkv, 2 * 70 * 3, expected_dqkv);
  EXPECT_TRUE(same_bits(some.out, expected_out));
  EXPECT_TRUE(same_bits(some.dqkv, expected_dqkv));
}

TEST(AttentionShards, TheFutureDoesNotShow) {
  auto random = testing::generator();
  const AttentionShape s{1, 100, 1, 16};
  auto qkv = testing::uniform<float>(random, 100 * 48);
  const std::vector<float> dout(100 * 16, 0.0f);
  const Result before = run(s, qkv, dout, {});
  for (std::size_t i = 60 * 48; i < qkv.size(); ++i) qkv[i] = 7.0f;
  const Result after = run(s, qkv, dout, {});
  for (std::size_t i = 0; i < 60 * 16; ++i) EXPECT_EQ(before.out[i], after.out[i]);
  // Large scores are no danger, NaN shows in every later row.
  qkv[90 * 48] = 1e18f;
  EXPECT_FALSE(std::isnan(run(s, qkv, dout, {}).out[95 * 16]));
  qkv[50 * 48 + 16] = nan;
  const Result broken = run(s, qkv, dout, {});
  for (std::size_t t = 50; t < 100; ++t) EXPECT_TRUE(std::isnan(broken.out[t * 16])) << t;
}

TEST(AttentionShards, NothingToDoAndNonsense) {
  for (const AttentionShape& s : {AttentionShape{0, 5, 2, 4}, AttentionShape{2, 0, 2, 4},
                                  AttentionShape{2, 5, 0, 4}, AttentionShape{2, 5, 2, 0}}) {
    causal_attention_forward(s, nullptr, nullptr, nullptr, {}, Precision::fp32);
  }
  EXPECT_THROW(
      causal_attention_forward({-1, 5, 2, 4}, nullptr, nullptr, nullptr, {}, Precision::fp32),
      Error);
  EXPECT_THROW(causal_attention_forward({1, 5, 2, 4, 0, 3, 4}, nullptr, nullptr, nullptr, {},
                                        Precision::fp32),
               Error);
}

}  // namespace
}  // namespace shoal::kernels
