// Text to token ids and back.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <shoal/runtime/units.hpp>

namespace shoal::models {

/// A fixed set of token ids and what they stand for.
class Tokenizer {
 public:
  enum class Kind {
    byte,       ///< id = value of the byte; 256 ids, any input
    character,  ///< id = place of the character (UTF-8 code point) in the sorted vocabulary
    ids,        ///< ids made by another program; nothing is known of their text
  };

  /// The 256 bytes.
  static Tokenizer bytes();
  /// The distinct characters of `text`, sorted by code point, as nanoGPT's shakespeare_char does.
  /// Throws UsageError if the text is not valid UTF-8 or has more than 65,536 distinct characters.
  static Tokenizer characters(std::string_view text);
  /// `vocabulary` ids without text. Throws UsageError unless 1 <= vocabulary <= 65,536.
  static Tokenizer ids(Index vocabulary);
  /// From state(). Throws Error if that is not what state() gives.
  static Tokenizer from_state(std::string_view state);

  /// Everything needed to make this tokenizer again, in printable ASCII: "byte", "char:10,32,33"
  /// (code points), "ids:50304". Kept in checkpoints.
  std::string state() const;
  Kind kind() const noexcept { return kind_; }
  /// "byte", "char" or "ids".
  std::string_view name() const noexcept;
  /// Number of ids.
  Index vocabulary() const noexcept { return vocabulary_; }

  /// The ids of a text. For Kind::ids the text is a list of numbers ("464 3290"). Throws UsageError
  /// that names the first character which has no id, or a number that is not an id.
  std::vector<std::int32_t> encode(std::string_view text) const;
  /// encode() for long texts: two bytes an id.
  std::vector<std::uint16_t> encode_compact(std::string_view text) const;
  /// The text of ids in [0, vocabulary). For Kind::ids the numbers, each followed by a space.
  std::string decode(std::span<const std::int32_t> tokens) const;
  /// True if `text` can be encoded.
  bool knows(std::string_view text) const;

 private:
  Tokenizer(Kind kind, Index vocabulary) : kind_(kind), vocabulary_(vocabulary) {}
  template <class Id>
  std::vector<Id> encode_as(std::string_view text) const;

  Kind kind_;
  Index vocabulary_;
  std::vector<char32_t> characters_;                    ///< by id
  std::unordered_map<char32_t, std::uint16_t> id_of_;   ///< the inverse
};

}  // namespace shoal::models
