// Inputs that are almost right.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace shoal::testing {

/// Damages texts and bytes in the ways that files are damaged, and in those that parsers forget:
/// flipped bits, cuts, pieces twice, missing or from elsewhere, numbers that are negative, huge or
/// off by one. The same seed makes the same damages.
class Mutator {
 public:
  explicit Mutator(std::mt19937_64 random) : random_(std::move(random)) {}

  /// One to four damages of `input`, or its beginning and the end of `other`, which is also where
  /// pieces from elsewhere come from.
  std::string damaged(const std::string& input, const std::string& other);
  /// The same for what a text says, not how: one to four values of a JSON document are replaced, by
  /// values of `other` among others, repeated, swapped, renamed or missing. Still JSON.
  nlohmann::ordered_json damaged(const nlohmann::ordered_json& input,
                                 const nlohmann::ordered_json& other);
  /// Uniform in [0, bound); 0 if bound is 0.
  std::size_t below(std::size_t bound);

 private:
  void damage_once(std::string& text, const std::string& other);
  void damage_once(nlohmann::ordered_json& document, const nlohmann::ordered_json& other);
  nlohmann::ordered_json value(const nlohmann::ordered_json& other);
  void change_number(std::string& text);

  std::mt19937_64 random_;
};

}  // namespace shoal::testing
