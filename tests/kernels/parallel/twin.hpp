// What the tests of parallel layers share: a group of one rank for the serial twin, random matrices
// that are the same on every rank, blocks of them, and a comparison with a derived tolerance.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/placement.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {

using Matrix = std::vector<float>;

/// This rank alone: a parallel layer over it is its own serial twin.
inline Communicator alone() { return world().split(world().rank(), 0, "alone"); }

/// Normal deviates from a generator that is seeded alike on every rank.
inline Matrix random_matrix(std::mt19937_64& random, Index count) {
  std::normal_distribution<float> normal;
  Matrix matrix(static_cast<std::size_t>(count));
  for (float& value : matrix) value = normal(random);
  return matrix;
}

inline Matrix poisoned(Index count) {
  return Matrix(static_cast<std::size_t>(count), std::nanf(""));
}

/// Rows [begin, begin + size) of a matrix of `cols` columns.
inline Matrix rows_of(const Matrix& whole, Index cols, Block block) {
  return Matrix(whole.begin() + block.begin * cols, whole.begin() + block.end() * cols);
}

/// Columns of a matrix.
inline Matrix cols_of(const Matrix& whole, Index cols, Block block) {
  Matrix part;
  for (std::size_t row = 0; row < whole.size(); row += static_cast<std::size_t>(cols)) {
    part.insert(part.end(), whole.begin() + static_cast<Index>(row) + block.begin,
                whole.begin() + static_cast<Index>(row) + block.end());
  }
  return part;
}

/// Sums of `length` products in single precision in two different orders differ by some
/// sqrt(length) roundings of the largest partial sum; eight times that is far below any real error.
inline void expect_close(const Matrix& actual, const Matrix& expected, Index length,
                         const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1;
  for (const float value : expected) largest = std::max(largest, std::fabs(double{value}));
  const double tolerance = 8 * std::sqrt(static_cast<double>(length)) * 0x1p-24 * largest;
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error = std::fabs(double{actual[i]} - double{expected[i]});
    if (!(error <= worst)) worst = error;
  }
  EXPECT_LE(worst, tolerance) << what;
}

}  // namespace shoal::testing
