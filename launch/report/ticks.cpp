#include "report/ticks.hpp"

#include <algorithm>
#include <cmath>

namespace shoal::launch::report {
namespace {

Scale powers(double base, double least, double most, int wanted) {
  const double scale = std::log(base);
  const double first = std::ceil(std::log(least) / scale - 1e-9);
  const double last = std::floor(std::log(most) / scale + 1e-9);
  const double step = std::max(1.0, std::ceil((last - first) / wanted));
  Scale out{least, most, {}};
  for (double power = first; power <= last + 1e-9; power += step) {
    out.ticks.push_back(std::pow(base, power));
  }
  if (out.ticks.size() < 2) {
    // Less than two powers lie inside: those around it.
    const double below = std::floor(std::log(least) / scale + 1e-9);
    const double above = std::max(std::ceil(std::log(most) / scale - 1e-9), below + 1);
    out = {std::pow(base, below), std::pow(base, above), {}};
    out.ticks = {out.low, out.high};
  }
  return out;
}

// 1, 2, 5, 10, ...: where a decade a tick would leave one or two.
Scale thirds(double least, double most) {
  constexpr double steps[] = {1, 2, 5};
  const auto number = [&](int index) {
    const int decade = static_cast<int>(std::floor(index / 3.0));
    return steps[index - 3 * decade] * std::pow(10, decade);
  };
  int first = 3 * static_cast<int>(std::floor(std::log10(least))) + 3;
  while (number(first) > least * (1 + 1e-9)) --first;
  int last = first + 1;
  while (number(last) < most * (1 - 1e-9)) ++last;
  Scale out{least, most, {}};
  for (int i = first; i <= last; ++i) {
    if (number(i) >= least && number(i) <= most) out.ticks.push_back(number(i));
  }
  if (out.ticks.size() < 2) out = {number(first), number(last), {number(first), number(last)}};
  return out;
}

Scale linear(double most, int wanted) {
  if (most <= 0) most = 1;
  const double rough = most / wanted;
  const double decade = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * decade;
  for (const double each : {1.0, 2.0, 2.5, 5.0}) {
    if (each * decade >= rough * (1 - 1e-9)) {
      step = each * decade;
      break;
    }
  }
  Scale out{0, std::ceil(most / step - 1e-9) * step, {}};
  for (int i = 0; i * step <= out.high * (1 + 1e-9); ++i) out.ticks.push_back(i * step);
  return out;
}

}  // namespace

Scale scale_for(const Axis& axis, double least, double most, int wanted) {
  wanted = std::max(wanted, 2);
  if (!axis.logarithmic) return linear(most, wanted);
  if (axis.unit == Unit::bytes) return powers(2, least, most, wanted);
  const double decades = std::log10(most / least);
  if (axis.unit == Unit::count) return powers(2, least, most, wanted);
  if (decades * 3 <= wanted) return thirds(least, most);
  return powers(10, least, most, wanted);
}

}  // namespace shoal::launch::report
