#include "cost/link_credit.hpp"

#include <algorithm>

namespace shoal::planning {
namespace {

// A token bucket a level (Turner 1986).
class LinkCredit {
 public:
  explicit LinkCredit(const Prices& prices) : prices_(prices) {
    for (const Level& level : prices.cluster().levels) {
      credit_.push_back(level.burst_bytes ? level.burst_bytes->value : 0);
    }
    more_.assign(credit_.size(), 0.0);
  }

  void pass(const std::vector<LayerOp>& ops) {
    for (const LayerOp& op : ops) {
      if (op.kind != LayerOp::Kind::exchange) {
        gain(op.seconds);
        continue;
      }
      const auto at = static_cast<std::size_t>(op.level);
      const double after = prices_.collective_after(op.operation, op.bytes, op.group, credit_[at]);
      const double seconds = after > op.seconds / op.relief ? after : op.seconds;
      more_[at] += seconds - op.seconds;
      credit_[at] -= prices_.link_bytes(op.operation, op.bytes, op.group);
      gain(seconds);
    }
  }
  // The gradients of all parameters leave nothing.
  void spend(Group group) {
    const std::vector<int> counts = prices_.spread(group);
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] > 1) credit_[i] = 0;
    }
  }
  const std::vector<double>& left() const { return credit_; }
  std::vector<double> take_more() {
    std::vector<double> taken(more_.size(), 0.0);
    taken.swap(more_);
    return taken;
  }

 private:
  void gain(double seconds) {
    for (std::size_t i = 0; i < credit_.size(); ++i) {
      const Level& level = prices_.cluster().levels[i];
      if (!level.burst_bytes) continue;
      const double rate = level.bandwidth * level.efficiency;
      credit_[i] = std::clamp(credit_[i] + rate * seconds, 0.0, level.burst_bytes->value);
    }
  }

  const Prices& prices_;
  std::vector<double> credit_, more_;
};

void pass_step(LinkCredit& credit, const Layout& layout, const StepPieces& pieces, int micro_steps,
               Index layers) {
  for (int micro = 0; micro < micro_steps; ++micro) {
    credit.pass(pieces.begin);
    for (Index layer = 0; layer < layers; ++layer) credit.pass(pieces.dense.forward);
    credit.pass(pieces.head);
    for (Index layer = 0; layer < layers; ++layer) {
      credit.pass(pieces.dense.again);
      credit.pass(pieces.dense.backward);
    }
    credit.pass(pieces.begin_backward);
  }
  if (layout.dp > 1) credit.spend({layout.dp, layout.tp});
}

bool no_link_has_bursts(const Prices& prices) {
  const auto& levels = prices.cluster().levels;
  return std::none_of(levels.begin(), levels.end(),
                      [](const Level& level) { return level.burst_bytes.has_value(); });
}

}  // namespace

std::vector<double> seconds_without_rest(const Prices& prices, const Layout& layout,
                                         const StepPieces& pieces, int micro_steps, Index layers) {
  LinkCredit credit(prices);
  if (no_link_has_bursts(prices)) return credit.take_more();
  // The first step starts after a rest, the second does not.
  for (int step = 0; step < 2; ++step) {
    credit.take_more();
    pass_step(credit, layout, pieces, micro_steps, layers);
  }
  return credit.take_more();
}

std::vector<double> credit_at_start(const Prices& prices, const Layout& layout, const StepPieces& pieces,
                                    int micro_steps, Index layers) {
  LinkCredit credit(prices);
  if (!no_link_has_bursts(prices)) pass_step(credit, layout, pieces, micro_steps, layers);
  return credit.left();
}

}  // namespace shoal::planning
