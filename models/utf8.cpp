#include "utf8.hpp"

#include <cstdint>
#include <cstdio>

namespace shoal::models {

std::optional<char32_t> next_code_point(std::string_view text, std::size_t& position) noexcept {
  const auto first = static_cast<unsigned char>(text[position]);
  if (first < 0x80) {
    ++position;
    return first;
  }
  const int length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 ||
      position + static_cast<std::size_t>(length) > text.size()) {
    return std::nullopt;
  }
  std::uint32_t value = first & (0x7Fu >> length);
  for (int i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[position + static_cast<std::size_t>(i)]);
    if ((next & 0xC0) != 0x80) return std::nullopt;
    value = value << 6 | (next & 0x3Fu);
  }
  constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
    return std::nullopt;
  }
  position += static_cast<std::size_t>(length);
  return static_cast<char32_t>(value);
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto value = static_cast<std::uint32_t>(code_point);
  if (value < 0x80) {
    text += static_cast<char>(value);
    return;
  }
  const int tail = value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
  constexpr std::uint32_t lead[] = {0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(lead[tail] | value >> (6 * tail));
  for (int i = tail - 1; i >= 0; --i) text += static_cast<char>(0x80 | (value >> (6 * i) & 0x3F));
}

std::string printable(char32_t code_point) {
  const auto value = static_cast<std::uint32_t>(code_point);
  if (value > 0x20 && value < 0x7F) return std::string("'") + static_cast<char>(value) + "'";
  char number[16];
  std::snprintf(number, sizeof number, "U+%04X", static_cast<unsigned>(value));
  if (value < 0xA0) return number;
  std::string text = "'";
  append_utf8(text, code_point);
  return text + "' (" + number + ")";
}

}  // namespace shoal::models
