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

using Json = nlohmann::ordered_json;

// The document and all that is in it.
void collect(Json& document, std::vector<Json*>& nodes) {
  nodes.push_back(&document);
  for (Json& child : document) {
    if (document.is_structured()) collect(child, nodes);
  }
}

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
  if (below(8) == 0) {
    const std::size_t cut = below(input.size() + 1);
    // At the same place of the other, as when a file is overwritten half, or anywhere.
    const std::size_t from = below(2) == 0 ? cut : below(other.size() + 1);
    text = input.substr(0, cut) + other.substr(std::min(from, other.size()));
    if (below(2) == 0) return text;
  }
  for (std::size_t count = below(4) + 1; count > 0; --count) damage_once(text, other);
  return text;
}

Json Mutator::value(const Json& other) {
  switch (below(6)) {
    case 0: {
      const Json plain[] = {nullptr,
                            true,
                            "",
                            Json::array(),
                            Json::object(),
                            "F32",
                            "f32",
                            -1,
                            2.0,
                            2.5,
                            1e300,
                            -1e300,
                            "byte",
                            "inf",
                            "nan",
                            "../x",
                            "\n",
                            std::string(1, '\0'),
                            std::string(70, 'x')};
      return plain[below(std::size(plain))];
    }
    case 1: {
      Json deep = 1;
      for (std::size_t depth = below(30); depth > 0; --depth) deep = Json::array({std::move(deep)});
      return deep;
    }
    case 2:
    case 3: {
      Json copy = other;
      std::vector<Json*> nodes;
      collect(copy, nodes);
      return *nodes[below(nodes.size())];
    }
    default:
      return Json::parse(numbers[below(std::size(numbers) - 2)], nullptr, false);
  }
}

void Mutator::damage_once(Json& document, const Json& other) {
  std::vector<Json*> nodes;
  collect(document, nodes);
  Json& node = *nodes[below(nodes.size())];
  switch (below(8)) {
    case 0:
      if (node.is_array() && !node.empty()) {
        node.erase(below(node.size()));
      } else if (node.is_object() && !node.empty()) {
        node.erase(std::next(node.begin(), static_cast<std::ptrdiff_t>(below(node.size()))).key());
      }
      break;
    case 1:
      if (node.is_array())
        node.push_back(node.empty() ? value(other) : Json(node[below(node.size())]));
      break;
    case 2:
      if (node.is_object() && !node.empty()) {
        const auto entry = std::next(node.begin(), static_cast<std::ptrdiff_t>(below(node.size())));
        const Json moved = entry.value();
        const std::string key = damaged(entry.key(), entry.key());
        node.erase(entry.key());
        // Names are UTF-8, or the document could not be written.
        node[std::all_of(key.begin(), key.end(), [](char c) { return c >= 0; }) ? key : "?"] =
            moved;
      }
      break;
    case 3: {
      // Both are leaves, so neither is inside the other.
      Json& second = *nodes[below(nodes.size())];
      if (!node.is_structured() && !second.is_structured()) std::swap(node, second);
      break;
    }
    case 4:
    case 5:
      if (node.is_number_integer() && node.get<double>() < 1e18 && node.get<double>() > -1e18) {
        const auto old = node.get<std::int64_t>();
        const std::int64_t near[] = {old + 1, old - 1, 2 * old, -old, old / 2, 0};
        node = near[below(std::size(near))];
        break;
      }
      [[fallthrough]];
    default:
      node = value(other);
  }
}

Json Mutator::damaged(const Json& input, const Json& other) {
  Json document = input;
  for (std::size_t count = below(4) + 1; count > 0; --count) damage_once(document, other);
  return document;
}

}  // namespace shoal::testing
