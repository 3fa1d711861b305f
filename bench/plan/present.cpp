#include "plan/present.hpp"

#include <algorithm>
#include <cmath>

#include <shoal/collectives/broadcast.hpp>
#include <shoal/planning/kernels.hpp>

#include "tune/link_rates.hpp"
#include "tune/shared_rates.hpp"

namespace shoal::bench {
namespace {

// Of what ranks exchange: what is longer hangs on memory or on the link alone.
constexpr double longest_anew = 1 << 24, longest_between_nodes = 1 << 22;

// Values of `table` at its own points that `fresh` reaches.
void take_over(planning::Table& table, const planning::Table& fresh) {
  const std::size_t last = table.axes.size() - 1;
  std::vector<std::size_t> index(table.axes.size(), 0);
  for (double& value : table.values) {
    std::vector<double> where;
    for (std::size_t axis = 0; axis < index.size(); ++axis)
      where.push_back(table.axes[axis][index[axis]]);
    if (where[last] <= fresh.axes[last].back()) value = fresh.at(where);
    for (std::size_t axis = last;; --axis) {
      if (++index[axis] < table.axes[axis].size() || axis == 0) break;
      index[axis] = 0;
    }
  }
}

void take_over(planning::Level& level, const planning::Level& fresh) {
  for (auto& [name, table] : level.measured) {
    const auto found = fresh.measured.find(name);
    if (found != fresh.measured.end()) take_over(table, found->second);
  }
  level.latency = fresh.latency;
  level.overhead = fresh.overhead;
}

double middle_of_two(double a, double b) { return std::sqrt(a * b); }

Probe middle_of_two(const Probe& a, const Probe& b) {
  return {middle_of_two(a.product, b.product), middle_of_two(a.stream, b.stream),
          middle_of_two(a.meeting, b.meeting)};
}

// How far two conditions are apart in what exchanges hang on, in tolerances.
double exchanges_apart(const Probe& a, const Probe& b) {
  return std::max((stream_apart(a, b) - 1) / (work_tolerance - 1),
                  (meeting_apart(a, b) - 1) / (meeting_tolerance - 1));
}

}  // namespace

PresentMachine::PresentMachine(const Communicator& world, const planning::Cluster& tuned,
                               ConditionProbe& probe)
    : world_(world), tuned_(tuned), probe_(probe), sampler_(world, 0.05) {}

Probe PresentMachine::measure_exchanges() {
  const auto start = Clock::now();
  const Probe before = probe_.take();
  Exchanges now{before, tuned_.levels};
  LinkOptions options;
  options.source = "plan --check";
  for (planning::Level& level : now.levels) {
    if (level.kind == planning::Level::Kind::links) {
      options.most_bytes = longest_between_nodes;
      LinkRates rates(sampler_, options);
      rates.pass();
      const planning::Device& device = tuned_.device;
      take_over(level, rates.level(3 / (device.memory_bandwidth * device.memory_efficiency)));
    } else if (tuned_.devices_per_node > 1) {
      options.most_bytes = longest_anew;
      SharedMemoryRates rates(world_, options);
      rates.pass();
      take_over(level, rates.level());
    }
  }
  const Probe after = probe_.take();
  now.condition = middle_of_two(before, after);
  // What was measured while the machine changed is of neither condition, but better than nothing.
  if (met_.empty() || exchanges_apart(before, after) <= 1) met_.push_back(std::move(now));
  last_ = std::chrono::duration<double>(Clock::now() - start).count();
  spent_ += last_;
  return after;
}

bool PresentMachine::may_measure() const {
  if (met_.empty()) return true;
  constexpr double share = 0.2;
  const double all = std::chrono::duration<double>(Clock::now() - start_).count();
  int may = spent_ + last_ < share * (all + last_) ? 1 : 0;
  broadcast(world_, &may, 1, DType::i32, 0);
  return may == 1;
}

const PresentMachine::Exchanges* PresentMachine::nearest(const Probe& probe) const {
  const auto found =
      std::min_element(met_.begin(), met_.end(), [&](const Exchanges& a, const Exchanges& b) {
        return exchanges_apart(a.condition, probe) < exchanges_apart(b.condition, probe);
      });
  return found == met_.end() ? nullptr : &*found;
}

Probe PresentMachine::look() {
  const Probe now = probe_.take();
  const Exchanges* const like = nearest(now);
  if (like != nullptr && exchanges_apart(like->condition, now) <= 1) return now;
  return may_measure() ? measure_exchanges() : now;
}

planning::Cluster PresentMachine::between(const Probe& before, const Probe& after) const {
  planning::Cluster now = tuned_;
  const Probe middle = middle_of_two(before, after);
  if (const Exchanges* const like = nearest(middle)) now.levels = like->levels;
  if (!tuned_.condition) return now;
  const Probe then = probe_of(*tuned_.condition);
  return planning::in_condition(now, middle.product / then.product, middle.stream / then.stream);
}

}  // namespace shoal::bench
