#include <shoal/models/tokenizer.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include <shoal/runtime/error.hpp>

#include "utf8.hpp"

namespace shoal::models {
namespace {

constexpr Index most_ids = 65536;  // an id is stored in 16 bits

// Calls visit(number) for each decimal number in `text`; false at the first word that is not one.
template <class Visit>
bool for_each_number(std::string_view text, std::string_view separators, Visit&& visit) {
  std::size_t position = 0;
  while ((position = text.find_first_not_of(separators, position)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(separators, position), text.size());
    Index number = 0;
    const auto [stop, error] =
        std::from_chars(text.data() + position, text.data() + end, number);
    if (error != std::errc() || stop != text.data() + end || !visit(number)) return false;
    position = end;
  }
  return true;
}

std::string byte_text(unsigned char byte) {
  char text[8];
  std::snprintf(text, sizeof text, "0x%02X", byte);
  return text;
}

}  // namespace

Tokenizer Tokenizer::bytes() { return Tokenizer(Kind::byte, 256); }

Tokenizer Tokenizer::characters(std::string_view text) {
  // One flag a code point of the first planes is quicker than a set, and 1.1 MB.
  std::vector<bool> seen(0x110000);
  for (std::size_t position = 0; position < text.size();) {
    const std::optional<char32_t> character = next_code_point(text, position);
    if (!character) {
      throw UsageError("tokenizer char",
                       "the text is not UTF-8: byte " +
                           byte_text(static_cast<unsigned char>(text[position])) + " at offset " +
                           std::to_string(position),
                       "use --tokenizer byte, or convert the text to UTF-8");
    }
    seen[*character] = true;
  }
  Tokenizer result(Kind::character, 0);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (seen[i]) result.characters_.push_back(static_cast<char32_t>(i));
  }
  result.vocabulary_ = static_cast<Index>(result.characters_.size());
  if (result.vocabulary_ == 0 || result.vocabulary_ > most_ids) {
    throw UsageError("tokenizer char",
                     "the text has " + std::to_string(result.vocabulary_) +
                         " distinct characters; 1 to 65536 are possible",
                     "use --tokenizer byte");
  }
  for (std::size_t id = 0; id < result.characters_.size(); ++id) {
    result.id_of_[result.characters_[id]] = static_cast<std::uint16_t>(id);
  }
  return result;
}

Tokenizer Tokenizer::ids(Index vocabulary) {
  if (vocabulary < 1 || vocabulary > most_ids) {
    throw UsageError("tokenizer", "a vocabulary of " + std::to_string(vocabulary) +
                                      " ids; 1 to 65536 are possible");
  }
  return Tokenizer(Kind::ids, vocabulary);
}

Tokenizer Tokenizer::from_state(std::string_view state) {
  const auto malformed = [&] {
    return Error("tokenizer", "\"" + std::string(state.substr(0, 40)) +
                                  "\" does not describe a tokenizer");
  };
  if (state == "byte") return bytes();
  const std::size_t colon = std::min(state.find(':'), state.size());
  const std::string_view kind = state.substr(0, colon);
  std::vector<Index> numbers;
  if (colon == state.size() ||
      !for_each_number(state.substr(colon + 1), ",", [&](Index number) {
        numbers.push_back(number);
        return true;
      }) ||
      numbers.empty()) {
    throw malformed();
  }
  if (kind == "ids" && numbers.size() == 1) return ids(numbers[0]);
  if (kind != "char") throw malformed();
  std::string text;
  for (const Index number : numbers) {
    if (number < 0 || number > 0x10FFFF || (number >= 0xD800 && number < 0xE000)) {
      throw malformed();
    }
    append_utf8(text, static_cast<char32_t>(number));
  }
  return characters(text);
}

std::string Tokenizer::state() const {
  switch (kind_) {
    case Kind::byte: return "byte";
    case Kind::ids: return "ids:" + std::to_string(vocabulary_);
    case Kind::character: break;
  }
  std::string text = "char:";
  for (std::size_t id = 0; id < characters_.size(); ++id) {
    if (id > 0) text += ',';
    text += std::to_string(static_cast<std::uint32_t>(characters_[id]));
  }
  return text;
}

std::string_view Tokenizer::name() const noexcept {
  switch (kind_) {
    case Kind::byte: return "byte";
    case Kind::character: return "char";
    case Kind::ids: break;
  }
  return "ids";
}

template <class Id>
std::vector<Id> Tokenizer::encode_as(std::string_view text) const {
  std::vector<Id> tokens;
  if (kind_ == Kind::byte) {
    tokens.reserve(text.size());
    for (const char byte : text) tokens.push_back(static_cast<unsigned char>(byte));
    return tokens;
  }
  if (kind_ == Kind::ids) {
    const bool valid = for_each_number(text, " \t\r\n,", [&](Index id) {
      if (id < 0 || id >= vocabulary_) return false;
      tokens.push_back(static_cast<Id>(id));
      return true;
    });
    if (valid) return tokens;
    throw UsageError("tokenizer ids",
                     "\"" + std::string(text.substr(0, 40)) +
                         "\" is not a list of token ids from 0 to " +
                         std::to_string(vocabulary_ - 1),
                     "the model was trained on token ids: give numbers such as \"464 3290\"");
  }
  // Nearly all text is ASCII: a table saves the hashing.
  constexpr std::int32_t unknown = -1;
  std::int32_t ascii[128];
  std::fill(std::begin(ascii), std::end(ascii), unknown);
  for (std::size_t id = 0; id < characters_.size() && characters_[id] < 128; ++id) {
    ascii[characters_[id]] = static_cast<std::int32_t>(id);
  }
  tokens.reserve(text.size());
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t start = position;
    const std::optional<char32_t> character = next_code_point(text, position);
    if (!character) {
      throw UsageError("tokenizer char",
                       "byte " + byte_text(static_cast<unsigned char>(text[start])) +
                           " at offset " + std::to_string(start) + " is not UTF-8");
    }
    std::int32_t id = unknown;
    if (*character < 128) {
      id = ascii[*character];
    } else if (const auto found = id_of_.find(*character); found != id_of_.end()) {
      id = found->second;
    }
    if (id == unknown) {
      throw UsageError("tokenizer char",
                       "the character " + printable(*character) +
                           " is not among the " + std::to_string(vocabulary_) +
                           " characters that the model was trained on",
                       "leave it out of the text");
    }
    tokens.push_back(static_cast<Id>(id));
  }
  return tokens;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  return encode_as<std::int32_t>(text);
}

std::vector<std::uint16_t> Tokenizer::encode_compact(std::string_view text) const {
  return encode_as<std::uint16_t>(text);
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  text.reserve(tokens.size());
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocabulary_) {
      throw Error("tokenizer", std::to_string(token) + " is not a token id; they go from 0 to " +
                                   std::to_string(vocabulary_ - 1));
    }
    switch (kind_) {
      case Kind::byte: text += static_cast<char>(static_cast<unsigned char>(token)); break;
      case Kind::character: append_utf8(text, characters_[static_cast<std::size_t>(token)]); break;
      case Kind::ids: text += std::to_string(token) + ' '; break;
    }
  }
  return text;
}

bool Tokenizer::knows(std::string_view text) const {
  try {
    encode(text);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

}  // namespace shoal::models
