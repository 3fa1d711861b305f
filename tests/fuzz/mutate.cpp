#include "mutate.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace shoal::testing {
namespace {

constexpr const char* numbers[] = {"0",
                                   "-1",
                                   "1",
                                   "255",
                                   "65536",
                                   "2147483648",
                                   "-2147483649",
                                   "4294967296",
                                   "4611686018427387904",
                                   "9223372036854775807",
                                   "-9223372036854775808",
                                   "18446744073709551615",
                                   "99999999999999999999999999",
                                   "1e308",
                                   "1e999",
                                   "0.5"};
constexpr const char* words[] = {
    "{",  "}",  "[",       "]",        ",", ":",  "\"",  "null",         "true", "\"\"",
    "[]", "{}", "\\u0000", "\xff\xfe", "=", "dp", "tp=", "__metadata__", "F32",  "f64"};

}  // namespace

std::size_t Mutator::below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }

void Mutator::change_number(std::string& text) {
  std::vector<std::size_t> starts;
  const auto digit = [&](std::size_t i) {
    return std::isdigit(static_cast<unsigned char>(text[i])) != 0;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (digit(i) && (i == 0 || !digit(i - 1))) starts.push_back(i);
  }
  if (starts.empty()) return;
  const std::size_t begin = starts[below(starts.size())];
  std::size_t end = begin;
  while (end < text.size() && digit(end)) ++end;
  std::string number = text.substr(begin, end - begin);
  if (below(3) == 0 && number.size() < 18) {
    const long long value = std::stoll(number);
    number = std::to_string(value + (below(2) == 0 ? 1 : -1));
  } else {
    number = numbers[below(std::size(numbers))];
  }
  text.replace(begin, end - begin, number);
}

void Mutator::damage_once(std::string& text, const std::string& other) {
  const std::size_t at = below(text.size());
  const std::size_t length = std::min(text.size() - at, below(below(4) == 0 ? 200 : 12) + 1);
  switch (below(10)) {
    case 0:
      if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
      break;
    case 1:
      if (!text.empty()) text[at] = static_cast<char>(below(256));
      break;
    case 2:
      text.resize(at);
      break;
    case 3:
      text.erase(at, length);
      break;
    case 4:
      text.insert(below(text.size() + 1), text.substr(at, length));
      break;
    case 5: {
      const std::size_t from = below(other.size());
      text.replace(at, length, other.substr(std::min(from, other.size()), length));
      break;
    }
    case 6:
      text.insert(at, words[below(std::size(words))]);
      break;
    case 7: {
      // A binary length or count.
      const std::uint64_t values[] = {0,           1,           7,        8,
                                      100'000'000, 100'000'001, 1u << 31, ~0u,
                                      ~0ull >> 1,  1ull << 63,  ~0ull,    text.size()};
      const std::uint64_t value = values[below(std::size(values))];
      const std::size_t place = below(2) == 0 ? 0 : at;
      if (place + sizeof value <= text.size())
        std::memcpy(text.data() + place, &value, sizeof value);
      break;
    }
    default:
      change_number(text);
  }
}

std::string Mutator::damaged(const std::string& input, const std::string& other) {
  std::string text = input;
  for (std::size_t count = below(4) + 1; count > 0; --count) damage_once(text, other);
  return text;
}

}  // namespace shoal::testing
