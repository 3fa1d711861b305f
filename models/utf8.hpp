// UTF-8 (RFC 3629), one code point at a time.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace shoal::models {

/// The code point that starts at text[position], and moves `position` past it. Nothing (and
/// `position` unmoved) for a byte sequence that is not UTF-8: overlong, cut off, a surrogate, or
/// beyond U+10FFFF.
std::optional<char32_t> next_code_point(std::string_view text, std::size_t& position) noexcept;

/// Appends a code point.
void append_utf8(std::string& text, char32_t code_point);

/// "'q'", "'é' (U+00E9)" or "U+0007", for messages.
std::string printable(char32_t code_point);

}  // namespace shoal::models
