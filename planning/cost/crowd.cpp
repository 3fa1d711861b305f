#include "cost/crowd.hpp"

#include <algorithm>

#include <shoal/planning/kernels.hpp>

namespace shoal::planning {
namespace {

const Table* crowd_table(const Device& device, std::string_view name) {
  const auto found = device.measured.find(std::string(name));
  return found == device.measured.end() ? nullptr : &found->second;
}

}  // namespace

Crowd::Crowd(const Cluster& cluster)
    : products_(crowd_table(cluster.device, crowd_products)),
      streams_(crowd_table(cluster.device, crowd_streams)),
      exchanges_(crowd_table(cluster.device, crowd_exchanges)),
      crowded_products_(cluster.device.crowded_products),
      crowded_streams_(cluster.device.crowded_streams),
      node_(cluster.devices_per_node) {
  matters_ = products_ != nullptr || streams_ != nullptr || exchanges_ != nullptr ||
             (node_ > 1 && (crowded_products_ || crowded_streams_));
}

// A profile that has one figure for all ranks of a node: between one and all linear.
double Crowd::of(const Table* table, const std::optional<Figure>& crowded, double at_work) const {
  if (table != nullptr) return table->at({at_work}) / table->values.back();
  if (!crowded || node_ <= 1) return 1;
  const double others = std::clamp(at_work, 1.0, double(node_)) - 1;
  return (1 + (*crowded - 1) * others / (node_ - 1)) / *crowded;
}

double Crowd::products(double at_work) const { return of(products_, crowded_products_, at_work); }

double Crowd::streams(double at_work) const { return of(streams_, crowded_streams_, at_work); }

double Crowd::exchanges(double at_work, double bytes, int level) const {
  if (exchanges_ == nullptr || level != 0) return 1;
  return exchanges_->at({at_work, bytes}) / exchanges_->at({exchanges_->axes[0].back(), bytes});
}

}  // namespace shoal::planning
