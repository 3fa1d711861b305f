// The page: one HTML file that needs nothing else.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/findings.hpp"
#include "report/gnuplot.hpp"

namespace shoal::launch::report {

/// A part of the page with a heading.
struct Section {
  std::string id, title, lead;
  Findings findings;
};

struct Page {
  std::string title;  ///< what it is a report of
  std::string date;
  std::vector<std::pair<std::string, std::string>> facts;  ///< of machine and build: name and value
  std::vector<Section> sections;
  std::vector<Run> runs;
  std::string undrawn;  ///< why there are no drawings; empty: there are
};

/// The whole file. `drawings`: of the charts of all sections, in their order; empty if they could not be
/// drawn, and then the numbers stand in their place. Nothing in it asks for anything from elsewhere.
std::string page_html(const Page& page, const std::vector<Drawing>& drawings);

/// The style sheet: colours by class for light, dark and paper.
const char* page_style();

}  // namespace shoal::launch::report
