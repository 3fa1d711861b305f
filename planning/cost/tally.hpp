// Seconds of operations, added up by what they are spent on.
#pragma once

#include <array>
#include <string>
#include <vector>

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// Seconds by kind; exchanges by the outermost level they cross.
struct Tally {
  double products = 0, streams = 0;
  std::array<double, 8> exchange{};
  double flops = 0;

  double total() const {
    double sum = products + streams;
    for (const double each : exchange) sum += each;
    return sum;
  }
  void add(const Tally& other, double times) {
    products += other.products * times;
    streams += other.streams * times;
    flops += other.flops * times;
    for (std::size_t i = 0; i < exchange.size(); ++i) exchange[i] += other.exchange[i] * times;
  }
};

/// Of operations in a row, each as often as it stands there.
Tally tally(const std::vector<LayerOp>& ops);
/// Bandwidth-free share of work that is experts': layers of each form, in one stage's worth.
double expert_share(const Model& model);

/// Parameters on a rank of the stage with the most, the output layer counted with the last; of these
/// those of the experts that tokens are routed to, and those of embedding and output layer.
double rank_parameters(const Model& model, const Layout& layout);
double routed_parameters(const Model& model, const Layout& layout);
double end_parameters(const Model& model, const Layout& layout);

/// Bytes in which a gradient or weight travels: of the type that the workload asks for, or else `usual`.
double travelling_bytes(const std::string& type, double usual);

/// Adds what cannot be overlapped; fills in all of the estimate but its memory.
void estimate_training(const Model& model, const Software& software, const Prices& prices,
                       const Workload& workload, Estimate& out, bool explain);
void estimate_inference(const Model& model, const Software& software, const Prices& prices,
                        const Workload& workload, Estimate& out, bool explain);

/// Causes of a tally and the rest, the largest first; names the levels.
void set_causes(const Cluster& cluster, const Tally& busy, std::vector<Cause> rest, Estimate& out);
/// A line for each operation of a layer.
void explain_ops(const char* what, const std::vector<LayerOp>& ops, const Prices& prices,
                 Estimate& out);

}  // namespace shoal::planning
