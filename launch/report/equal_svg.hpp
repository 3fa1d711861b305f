// The curve of `shoal equal` as a picture of its own.
#pragma once

#include <string>

namespace shoal::launch::report {

/// `equal_json`: what shoal equal --json says. Writes an SVG file with title and legend, light or
/// dark as its reader is. Throws Error if gnuplot is missing, UsageError if the file cannot be
/// written or no number of nodes holds the model.
void write_equal_svg(const std::string& equal_json, const std::string& path);

}  // namespace shoal::launch::report
