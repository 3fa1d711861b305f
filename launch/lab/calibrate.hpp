// What a lab really delivers, against what was asked of it.
#pragma once

#include <string>
#include <vector>

#include "state.hpp"

namespace shoal::launch::lab {

/// One host: what it was to have, and has. Rates in bits a second; 0: not measured.
struct Delivered {
  double cpu_asked = 0;  ///< cores' worth of time when all hosts compute
  double cpu = 0;        ///< the same, measured by arithmetic, all hosts at once
  double out = 0;        ///< from it to the fastest other host, while as much comes in
  double in = 0;
  double latency = 0;   ///< seconds, one way, of one byte by TCP
  bool plugged = true;  ///< false: cut off, its link not measured
};

/// Measures all hosts, about half a second each.
std::vector<Delivered> calibrate(const Lab& lab);
/// A table of 80 columns, with what falls short of 90% marked.
void print_calibration(const Lab& lab, const std::vector<Delivered>& delivered);
/// Throws Error if the file cannot be written.
void write_calibration(const Lab& lab, const std::vector<Delivered>& delivered,
                       const std::string& file);

}  // namespace shoal::launch::lab
