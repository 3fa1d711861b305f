#include "cost/crowd.hpp"

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
      exchanges_(crowd_table(cluster.device, crowd_exchanges)) {}

double Crowd::of(const Table* table, double at_work) {
  return table == nullptr ? 1 : table->at({at_work}) / table->values.back();
}

double Crowd::products(double at_work) const { return of(products_, at_work); }

double Crowd::streams(double at_work) const { return of(streams_, at_work); }

double Crowd::exchanges(double at_work, double bytes, int level) const {
  if (exchanges_ == nullptr || level != 0) return 1;
  return exchanges_->at({at_work, bytes}) / exchanges_->at({exchanges_->axes[0].back(), bytes});
}

}  // namespace shoal::planning
