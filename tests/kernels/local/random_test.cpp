#include <shoal/kernels/local/random.hpp>

#include <algorithm>

#include <shoal/kernels/local/dropout.hpp>
#include <shoal/runtime/error.hpp>

#include "reference.hpp"

namespace shoal::kernels {
namespace {

struct KnownAnswer {
  std::uint64_t seed, index;
  std::uint32_t step, site;
  std::uint32_t words[4];
};

// From the file kat_vectors of Random123 (Salmon et al. 2011): philox4x32 with 10 rounds.
constexpr KnownAnswer known_answers[] = {
    {0, 0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {~0ull, ~0ull, ~0u, ~0u, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {0x299f31d0a4093822,
     0x85a308d3243f6a88,
     0x13198a2e,
     0x03707344,
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

TEST(Random, PhiloxGivesTheKnownAnswers) {
  for (const KnownAnswer& answer : known_answers) {
    const RandomKey key{answer.seed, answer.step, answer.site};
    EXPECT_EQ(random_u64(key, answer.index),
              std::uint64_t{answer.words[1]} << 32 | answer.words[0]);
  }
  // Word w of counter 0 is uniform element 16·w.
  for (std::uint64_t w = 0; w < 4; ++w) {
    float value = nan;
    uniform(RandomKey{}, 16 * w, 1, &value);
    EXPECT_EQ(value, static_cast<float>(known_answers[0].words[w] >> 8) * 0x1p-24f);
  }
}

TEST(Random, AnySplitGivesTheSameNumbers) {
  auto random = testing::generator();
  const RandomKey key{random(), random(), static_cast<std::uint32_t>(random())};
  const std::uint64_t first = random() >> 1;
  const Index n = 70001;
  const auto draw = [&](bool gaussian, std::uint64_t at, Index count, float* out) {
    if (gaussian) return normal(key, at, count, 1.5f, 0.25f, out);
    uniform(key, at, count, out);
  };
  for (const bool gaussian : {false, true}) {
    auto whole = poisoned(n);
    draw(gaussian, first, n, whole.data());
    auto pieces = poisoned(n);
    std::uniform_int_distribution<Index> length(0, 200);
    for (Index done = 0; done < n;) {
      const Index count = std::min(n - done, length(random));
      draw(gaussian, first + static_cast<std::uint64_t>(done), count, pieces.data() + done);
      done += count;
    }
    EXPECT_TRUE(same_bits(whole, pieces));
    expect_same_for_any_threads([&] {
      auto again = poisoned(n);
      draw(gaussian, first, n, again.data());
      return again;
    });
  }
}

TEST(Random, NumbersDifferByEveryPartOfTheKey) {
  const RandomKey key{1, 2, 3};
  for (const RandomKey& other : {RandomKey{2, 2, 3}, RandomKey{1, 3, 3}, RandomKey{1, 2, 4},
                                 RandomKey{1ull << 40, 2, 3}, RandomKey{1, 1ull << 40, 3}}) {
    EXPECT_NE(random_u64(key, 5), random_u64(other, 5));
  }
  EXPECT_NE(random_u64(key, 5), random_u64(key, 6));
}

// Moments of a sample, within 6 standard errors of the distribution's.
TEST(Random, MomentsAreThoseOfTheDistribution) {
  const Index n = 400000;
  std::vector<float> x(static_cast<std::size_t>(n));
  const RandomKey key{testing::seed(), 0, 0};
  const auto moment = [&](int power) {
    double sum = 0;
    for (const float v : x) sum += std::pow(static_cast<double>(v), power);
    return sum / static_cast<double>(n);
  };
  const double error = 6 / std::sqrt(static_cast<double>(n));
  uniform(key, 0, n, x.data());
  EXPECT_NEAR(moment(1), 0.5, error * std::sqrt(1.0 / 12));
  EXPECT_NEAR(moment(2), 1.0 / 3, error * std::sqrt(4.0 / 45));
  EXPECT_GE(*std::min_element(x.begin(), x.end()), 0.0f);
  EXPECT_LT(*std::max_element(x.begin(), x.end()), 1.0f);
  normal(key, 0, n, 0, 1, x.data());
  EXPECT_NEAR(moment(1), 0, error);
  EXPECT_NEAR(moment(2), 1, error * std::sqrt(2.0));
  EXPECT_NEAR(moment(3), 0, error * std::sqrt(15.0));
  EXPECT_NEAR(moment(4), 3, error * std::sqrt(96.0));
}

// The numbers themselves, in fp64 from the same words.
TEST(Random, NormalIsBoxMuller) {
  const RandomKey key{testing::seed(), 7, 9};
  std::vector<float> x(64 * 50);
  normal(key, 0, static_cast<Index>(x.size()), 0, 1, x.data());
  for (std::uint64_t counter = 0; counter < 16 * 50; ++counter) {
    const std::uint64_t pair = random_u64(key, counter);
    const double u = (static_cast<double>((pair & 0xffffffffu) >> 1) + 0.5) * 0x1p-31;
    const double angle = 2 * M_PI * static_cast<double>(pair >> 32) * 0x1p-32;
    const double radius = std::sqrt(-2 * std::log(u));
    const std::size_t at = counter / 16 * 64 + counter % 16;
    // u is rounded twice to single precision, 2^-24 at most where it is near 1; there the radius is
    // small and d(radius) = du/(u·radius).
    const double tolerance = 4e-6 + 0x1p-24 / radius;
    EXPECT_NEAR(x[at], radius * std::cos(angle), tolerance);
    EXPECT_NEAR(x[at + 16], radius * std::sin(angle), tolerance);
  }
}

// The hash is that of a run with AVX-512; ctest runs this with the weaker sets too.
TEST(Random, NormalDoesNotDependOnTheInstructionSet) {
  std::vector<float> x(4096);
  normal(RandomKey{1, 2, 3}, 0, 4096, 0, 1, x.data());
  std::uint64_t hash = 14695981039346656037ull;
  for (const float v : x) hash = (hash ^ __builtin_bit_cast(std::uint32_t, v)) * 1099511628211ull;
  EXPECT_EQ(hash, 10201744586788425378ull);
}

TEST(Dropout, KeepsOrDropsByIndexAlone) {
  auto random = testing::generator();
  const Index n = 60011;
  const auto x = testing::uniform<float>(random, n, 1, 2);
  const Dropout dropout{0.3f, {random(), 4, 5}};
  const std::uint64_t first = random() >> 8;
  auto y = poisoned(n);
  dropout_forward(dropout, first, n, x.data(), y.data());
  Index dropped = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (y[i] == 0) {
      ++dropped;
    } else {
      EXPECT_NEAR(y[i], static_cast<double>(x[i]) / 0.7, 4 * epsilon32 * 3);
    }
  }
  EXPECT_NEAR(static_cast<double>(dropped), 0.3 * n, 6 * std::sqrt(0.21 * n));
  auto in_place = x;
  for (Index at = 0; at < n; at += 1237) {
    const Index count = std::min<Index>(1237, n - at);
    dropout_backward(dropout, first + static_cast<std::uint64_t>(at), count, in_place.data() + at,
                     in_place.data() + at);
  }
  EXPECT_TRUE(same_bits(y, in_place));
  dropout_forward(Dropout{}, first, n, x.data(), y.data());
  EXPECT_TRUE(same_bits(y, x));
}

TEST(Dropout, RefusesProbabilitiesOutsideItsRange) {
  float x = 1;
  for (const float p : {-0.1f, 1.0f, 2.0f, nan}) {
    EXPECT_THROW(dropout_forward(Dropout{p, {}}, 0, 1, &x, &x), Error);
  }
}

}  // namespace
}  // namespace shoal::kernels
