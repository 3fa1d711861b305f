// What Shoal's kernels take on this machine, for a profile.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <shoal/planning/table.hpp>

#include "tune/condition.hpp"
#include "tune/sampler.hpp"

namespace shoal::bench {

/// How often kernel_rates() goes through all kernels: a figure gets so much less time in each pass. More
/// often where the machine changes meanwhile.
inline constexpr int rate_passes = 3;

/// How finely.
struct RateOptions {
  std::vector<std::string> types;  ///< of products: fp32, bf16
  bool quick = false;              ///< three points an axis
  std::string source;              ///< of the tables
  std::function<void(const std::string&)> step;  ///< called before each table
};

/// Tables of all kernels of planning/kernels.hpp; `probe` is taken after each pass. Collective.
std::map<std::string, planning::Table> kernel_rates(const Sampler& sampler, const RateOptions& options,
                                                    ConditionProbe& probe);

/// How many times as long a product, and a stream, take while all ranks work than while rank 0 works
/// alone. Collective; the same on all ranks.
struct Crowding {
  double products = 1, streams = 1;
};
Crowding measure_crowding(const Sampler& sampler);

}  // namespace shoal::bench
