// Inputs that are almost right.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace shoal::testing {

/// Damages texts and bytes in the ways that files are damaged, and in those that parsers forget:
/// flipped bits, cuts, pieces twice, missing or from elsewhere, numbers that are negative, huge or
/// off by one. The same seed makes the same damages.
class Mutator {
 public:
  explicit Mutator(std::mt19937_64 random) : random_(std::move(random)) {}

  /// One to four damages of `input`; `other` is where pieces from elsewhere come from.
  std::string damaged(const std::string& input, const std::string& other);
  /// Uniform in [0, bound); 0 if bound is 0.
  std::size_t below(std::size_t bound);

 private:
  void damage_once(std::string& text, const std::string& other);
  void change_number(std::string& text);

  std::mt19937_64 random_;
};

}  // namespace shoal::testing
