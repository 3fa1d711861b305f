// Tables of a label and a text, for a terminal of 80 columns.
#pragma once

#include <cstddef>
#include <string>

namespace shoal::launch {

/// Prints `label`, and `text` from column `indent` on; words that do not fit go on below, in the same
/// column.
void print_row(const std::string& label, const std::string& text, std::size_t indent);

}  // namespace shoal::launch
