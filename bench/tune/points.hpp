// Where a profile measures collectives and messages.
#pragma once

#include <string>
#include <vector>

namespace shoal::bench {

/// How finely, and what to say of it.
struct LinkOptions {
  bool quick = false;
  std::string source;
  double most_bytes = 1e300;  ///< longer ones are left out
};

inline constexpr double least_seconds_a_byte = 1e-14;

/// Bytes: 64, 256, ... up to `most`; three of them if it is to be quick.
inline std::vector<double> profile_sizes(bool quick, double most) {
  if (quick) return {64, 16384, 4194304};
  std::vector<double> sizes;
  for (double size = 64; size <= most; size *= 4) sizes.push_back(size);
  return sizes;
}

/// Ranks, or nodes: 2, 4, 8, ... and all.
inline std::vector<double> profile_groups(int all) {
  std::vector<double> sizes;
  for (int size = 2; size < all; size *= 2) sizes.push_back(size);
  sizes.push_back(all);
  return sizes;
}

}  // namespace shoal::bench
