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
  std::function<void()> after_pass;  ///< called after each pass: what else is measured in as many
};

/// Tables of all kernels of planning/kernels.hpp; `probe` is taken after each pass. Collective.
std::map<std::string, planning::Table> kernel_rates(const Sampler& sampler, const RateOptions& options,
                                                    ConditionProbe& probe);

}  // namespace shoal::bench
