// How much quicker kernels and exchanges go while only some ranks of a measured machine are at
// work.
#pragma once

#include <shoal/planning/profile.hpp>

namespace shoal::planning {

/// Factors of what the tables of a profile say, which were measured while all ranks worked. Ranks
/// that are idle leave memory and clock to the others, and where ranks share cores, in one node or
/// in hosts of one machine, their turns on these.
class Crowd {
 public:
  explicit Crowd(const Cluster& cluster);
  /// While `at_work` of the ranks are; 1 where all are, or the profile says nothing.
  double products(double at_work) const;
  double streams(double at_work) const;
  /// Of an exchange at that level of the cluster; pairs were measured at the innermost.
  double exchanges(double at_work, double bytes, int level) const;
  /// True if any of them is not 1.
  bool matters() const noexcept {
    return products_ != nullptr || streams_ != nullptr || exchanges_ != nullptr;
  }

 private:
  static double of(const Table* table, double at_work);

  const Table* products_ = nullptr;
  const Table* streams_ = nullptr;
  const Table* exchanges_ = nullptr;
};

}  // namespace shoal::planning
