// Looks at JSON that others may have written before it is taken for numbers and lists.
//
// nlohmann::json is generous: get<std::int64_t>() takes 2.5 and true, and 1e300 with undefined
// behaviour; a loop over a number runs once, over null not at all.
#pragma once

#include <cstdint>
#include <limits>

namespace shoal {

/// Whether a value is a whole number that an Index can hold.
template <class Json>
bool is_index(const Json& value) {
  return value.is_number_integer() && (!value.is_number_unsigned() ||
                                       value.template get<std::uint64_t>() <=
                                           std::uint64_t{std::numeric_limits<std::int64_t>::max()});
}

/// Whether a value is a list of such numbers.
template <class Json>
bool is_index_list(const Json& value) {
  if (!value.is_array()) return false;
  for (const Json& number : value) {
    if (!is_index(number)) return false;
  }
  return true;
}

}  // namespace shoal
