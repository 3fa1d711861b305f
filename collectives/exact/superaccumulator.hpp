// A sum of fp64 numbers that loses nothing.
#pragma once

#include <array>
#include <cstdint>

namespace shoal {

/// All bits that a sum of up to 2^31 doubles can have, in 32-bit digits held in 64-bit integers, so that
/// carries wait until the end. Kulisch 2011 (the accumulator), Neal 2015, Fast Exact Summation Using
/// Small and Large Superaccumulators (digits with room for carries). For the few elements that the
/// vectorised sums leave over: some 0.2 µs for a handful of terms.
class Superaccumulator {
 public:
  void add(double value) noexcept;
  /// The exact sum, rounded to nearest, ties to even. As IEEE additions in any order would give if
  /// none of them rounded or overflowed: a NaN, or infinities of both signs, give NaN (always the same
  /// one); an infinity gives itself; a sum of only −0 is −0, any other zero +0.
  double nearest() const noexcept { return rounded(false); }
  /// The same, but where it is inexact the neighbour whose last bit is 1.
  double odd() const noexcept { return rounded(true); }

 private:
  // Bit 0 of digit 0 is 2^-1074; 2046 places for the exponent and 53 bits, in whole digits and one more.
  static constexpr int digits = 68;
  double rounded(bool to_odd) const noexcept;

  std::array<std::int64_t, digits> digit_{};
  bool nan_ = false, plus_infinity_ = false, minus_infinity_ = false, only_minus_zero_ = true;
};

}  // namespace shoal
