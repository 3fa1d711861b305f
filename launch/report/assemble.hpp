// From a folder of results to a page.
#pragma once

#include <string>

#include "report/page.hpp"

namespace shoal::launch::report {

/// Reads the files of `manifest` in `folder` and says what they show. A file that is missing or
/// wrong becomes a run that failed, with the reason; it is never left out in silence.
Page assemble(const std::string& folder, Manifest manifest);

/// The runs of a folder without a report.json, by the names of its JSON files; none if it has none.
Manifest manifest_of_files(const std::string& folder);

/// Draws the page and writes it to FOLDER/report.html, at once. Where gnuplot is missing the page
/// has the numbers alone and says so. Returns what is wrong with it, in a line; empty: nothing.
std::string write_page(const std::string& folder, Page page);

}  // namespace shoal::launch::report
