// Inputs that are new at every run, and that can be had again.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace shoal::testing {

/// The seed of this run, the same on all ranks: the environment variable SHOAL_TEST_SEED, or a fresh
/// one. It is printed when a test fails.
std::uint64_t seed();

/// A generator for the test that runs now, from seed(), the test's name and `stream`: a test that is
/// run alone gets the same numbers. Equal on all ranks; pass the rank as stream to have one each.
std::mt19937_64 generator(std::uint64_t stream = 0);

/// `count` numbers, uniform in [low, high).
template <class T = float>
std::vector<T> uniform(std::mt19937_64& from, std::int64_t count, T low = T(-1), T high = T(1)) {
  std::uniform_real_distribution<T> distribution(low, high);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = distribution(from);
  return values;
}

/// Replaces the seed before the first test; for the main functions in this folder.
void set_seed(std::uint64_t value);

}  // namespace shoal::testing
