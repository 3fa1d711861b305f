// Where an axis begins, ends, and carries numbers.
#pragma once

#include <vector>

#include "report/chart.hpp"

namespace shoal::launch::report {

struct Scale {
  double low = 0, high = 1;
  std::vector<double> ticks;  ///< ascending, within low and high
};

/// For values from `least` to `most`, with about `wanted` ticks at round numbers: powers of two for
/// bytes, of ten otherwise on logarithmic axes, or the numbers themselves where a power of two a step
/// says it all. A linear axis begins at 0. Values of logarithmic axes are positive.
Scale scale_for(const Axis& axis, double least, double most, int wanted);

}  // namespace shoal::launch::report
