#include <algorithm>

#include "report/findings.hpp"

namespace shoal::launch::report {

std::string listed(const std::vector<std::string>& words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " and " : ", ";
    out += words[i];
  }
  return out;
}

std::string range_text(double least, double most, Unit unit) {
  const std::string low = text_with_unit(least, unit), high = text_with_unit(most, unit);
  if (low == high) return low;
  // The unit once, where both have the same.
  const std::string space = "\u00a0";
  const auto unit_of = [&](const std::string& text) {
    const auto at = text.find(space);
    return at == std::string::npos ? std::string() : text.substr(at);
  };
  const std::string shared = unit_of(low);
  return low.substr(0, low.size() - (shared == unit_of(high) ? shared.size() : 0)) + " to " + high;
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace shoal::launch::report
