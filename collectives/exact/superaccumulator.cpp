#include "exact/superaccumulator.hpp"

#include <bit>
#include <cmath>
#include <limits>

namespace shoal {

void Superaccumulator::add(double value) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const bool negative = (bits >> 63) != 0;
  const auto exponent = static_cast<int>((bits >> 52) & 0x7ff);
  std::uint64_t mantissa = bits & ((std::uint64_t{1} << 52) - 1);
  if (exponent == 0x7ff) {
    (mantissa != 0 ? nan_ : negative ? minus_infinity_ : plus_infinity_) = true;
    return;
  }
  if (bits != std::uint64_t{1} << 63) only_minus_zero_ = false;
  if (exponent > 0) mantissa |= std::uint64_t{1} << 52;
  const int place = exponent > 0 ? exponent - 1 : 0;  // of the last bit, above 2^-1074
  const int shift = place % 32;
  const auto first = static_cast<std::size_t>(place / 32);
  const std::uint64_t low = mantissa << shift;
  const std::uint64_t high = shift == 0 ? 0 : mantissa >> (64 - shift);
  constexpr std::uint64_t digit_mask = 0xffffffffu;
  const std::int64_t sign = negative ? -1 : 1;
  digit_[first] += sign * static_cast<std::int64_t>(low & digit_mask);
  digit_[first + 1] += sign * static_cast<std::int64_t>(low >> 32);
  digit_[first + 2] += sign * static_cast<std::int64_t>(high);
}

double Superaccumulator::rounded(bool to_odd) const noexcept {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (nan_ || (plus_infinity_ && minus_infinity_)) {
    return std::bit_cast<double>(std::uint64_t{0x7ff8} << 48);
  }
  if (plus_infinity_) return infinity;
  if (minus_infinity_) return -infinity;

  // Carries upward; what is left of them at the top is the sign.
  std::array<std::uint32_t, digits> plain{};
  const auto carry_through = [&](std::int64_t factor) {
    std::int64_t carry = 0;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      const std::int64_t sum = factor * digit_[i] + carry;
      plain[i] = static_cast<std::uint32_t>(sum);
      carry = sum >> 32;  // rounds down: two's complement
    }
    return carry;
  };
  const bool negative = carry_through(1) < 0;
  if (negative) carry_through(-1);

  int top = digits - 1;
  while (top >= 0 && plain[static_cast<std::size_t>(top)] == 0) --top;
  if (top < 0) return only_minus_zero_ ? -0.0 : 0.0;
  const int highest = 32 * top + 31 - std::countl_zero(plain[static_cast<std::size_t>(top)]);

  const auto bit = [&](int place) {
    return (plain[static_cast<std::size_t>(place / 32)] >> (place % 32)) & 1u;
  };
  const int lowest = highest > 52 ? highest - 52 : 0;  // of the 53 bits that stay
  std::uint64_t mantissa = 0;
  for (int place = highest; place >= lowest; --place) mantissa = (mantissa << 1) | bit(place);
  if (lowest > 0) {
    const bool half = bit(lowest - 1) != 0;
    bool below = false;
    for (int place = lowest - 2; place >= 0 && !below; --place) below = bit(place) != 0;
    if (to_odd) {
      mantissa |= half || below ? 1u : 0u;
    } else if (half && (below || (mantissa & 1u) != 0)) {
      ++mantissa;  // may become 2^53, which is a double as well
    }
  }
  const double magnitude = std::ldexp(static_cast<double>(mantissa), lowest - 1074);
  return negative ? -magnitude : magnitude;
}

}  // namespace shoal
