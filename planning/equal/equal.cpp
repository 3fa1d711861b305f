#include <algorithm>
#include <cmath>
#include <functional>

#include <shoal/planning/equal.hpp>

namespace shoal::planning {
namespace {

double each_node(const Cluster& cluster, double per_device) {
  return per_device * cluster.devices_per_node;
}

Measure sum_of(const Side& device, const Side& nodes, const std::string& name,
               const std::string& type, const std::string& unit,
               const std::function<double(const Cluster&)>& per_device) {
  Measure measure;
  measure.name = name;
  measure.type = type;
  measure.unit = unit;
  measure.device = per_device(device.cluster) * device.cluster.devices();
  const double node = each_node(nodes.cluster, per_device(nodes.cluster));
  measure.nodes_value = node * nodes.cluster.nodes;
  if (node > 0 && measure.device > 0) measure.needed = measure.device / node;
  return measure;
}

// The best that a side reaches with so many nodes.
class Bench {
 public:
  Bench(const Side& side, const Model& model, Workload::Kind kind, std::string type,
        const Terms& terms)
      : side_(side), model_(model), kind_(kind), type_(std::move(type)), terms_(terms) {}

  // `hint`: a batch to begin with.
  Point at(int nodes, Index hint = 1) const {
    Cluster cluster = side_.cluster;
    cluster.nodes = nodes;
    Point best;
    best.nodes = nodes;
    Workload work;
    work.kind = kind_;
    work.type = type_ == "q40" ? "bf16" : type_;
    if (type_ == "q40") work.weights = type_;
    if (kind_ == Workload::Kind::train) {
      work.batch = terms_.global_batch;
      work.sequence = terms_.training_tokens > 0 ? terms_.training_tokens
                                                 : std::min<Index>(model_.context, 4096);
      take(best, cluster, work);
      return best;
    }
    const bool decode = kind_ == Workload::Kind::decode;
    work.sequence = std::min<Index>(model_.context, decode ? terms_.context : terms_.prompt);
    if (decode && terms_.batch > 0) {
      work.batch = terms_.batch;
      take(best, cluster, work);
      return best;
    }
    const double limit = decode ? terms_.token_seconds : terms_.prompt_seconds;
    // A step only gets longer, and memory only tighter, with more sequences. A single one is taken
    // however long it takes.
    const auto good = [&](Index batch) {
      work.batch = batch;
      const double seconds = take(best, cluster, work, batch == 1 ? 0 : limit);
      return seconds > 0 && seconds <= limit;
    };
    Index batch = std::max<Index>(hint, 1);
    while (!good(batch) && batch > 1) batch /= 2;
    if (batch < hint) return best;
    for (batch *= 2; batch <= largest_batch; batch *= 2) {
      const double before = best.value;
      if (!good(batch) || (best.value <= before * 1.01 && batch > 64)) break;
    }
    return best;
  }

 private:
  static constexpr Index largest_batch = Index{1} << 18;

  // Seconds of the best layout, 0 if there is none; taken if it is better and within the limit.
  double take(Point& best, const Cluster& cluster, const Workload& work, double limit = 0) const {
    const Found found = search(model_, side_.software, cluster, work, {}, 1);
    if (found.best.empty()) return 0;
    const Estimate& first = found.best.front();
    if ((limit == 0 || first.seconds <= limit) && first.tokens_per_second > best.value) {
      best.value = first.tokens_per_second;
      best.batch = work.batch;
      best.estimate = first;
    }
    return first.seconds;
  }

  const Side& side_;
  const Model& model_;
  const Workload::Kind kind_;
  const std::string type_;
  const Terms& terms_;
};

// From the first number that fits: 1, 2, 3, 4, 6, 8, 12, ...
std::vector<int> counts_up_to(int most) {
  std::vector<int> counts;
  for (int n = 1; n <= most; n *= 2) {
    counts.push_back(n);
    if (n >= 2 && n + n / 2 <= most) counts.push_back(n + n / 2);
  }
  if (counts.back() != most) counts.push_back(most);
  return counts;
}

// Nodes may stay idle: what fewer reach, more do.
void make_monotone(std::vector<Point>& curve) {
  for (std::size_t i = 1; i < curve.size(); ++i) {
    if (curve[i].value >= curve[i - 1].value) continue;
    const int nodes = curve[i].nodes;
    curve[i] = curve[i - 1];
    curve[i].nodes = nodes;
  }
}

void find_needed(Measure& measure, const Bench& bench) {
  const auto first = std::find_if(measure.curve.begin(), measure.curve.end(), [&](const Point& at) {
    return measure.device > 0 && at.value >= measure.device;
  });
  if (first == measure.curve.end()) return;
  int enough = first->nodes;
  int few = first == measure.curve.begin() ? 0 : std::prev(first)->nodes;
  while (enough - few > 1) {
    const int middle = few + (enough - few) / 2;
    const bool reaches = bench.at(middle, first->batch).value >= measure.device;
    (reaches ? enough : few) = middle;
  }
  measure.needed = enough;
}

// Where twice as many nodes give less than a tenth more, and do so for good.
void find_end(Measure& measure) {
  constexpr double worth = 1.1;
  const std::vector<Point>& curve = measure.curve;
  for (std::size_t i = curve.size(); i-- > 0;) {
    const auto twice = std::find_if(curve.begin(), curve.end(), [&](const Point& at) {
      return at.nodes >= 2 * curve[i].nodes;
    });
    if (twice == curve.end() || curve[i].value <= 0) continue;
    if (twice->value > worth * curve[i].value) break;
    measure.stops = curve[i].nodes;
    const Estimate& there = curve[i].estimate;
    if (!there.causes.empty()) measure.why = there.causes.front().name;
    for (const Cause& cause : there.causes) {
      // What does not shrink with more nodes is the reason, if it is a good part of the time.
      if (cause.name != "matrix products" && cause.seconds > 0.25 * there.seconds) {
        measure.why = cause.name;
        break;
      }
    }
  }
}

Measure workload_of(const Side& device, const Side& nodes, const Model& model, Workload::Kind kind,
                    const std::string& type, const Terms& terms) {
  Measure measure;
  measure.name = kind == Workload::Kind::train     ? "training"
                 : kind == Workload::Kind::prefill ? "prefill"
                                                   : "decode";
  measure.type = type;
  measure.unit = "tokens/s";
  measure.device_point = Bench(device, model, kind, type, terms).at(device.cluster.nodes);
  measure.device = measure.device_point.value;
  const Bench bench(nodes, model, kind, type, terms);
  const int most = terms.most_nodes > 0 ? terms.most_nodes : std::max(nodes.cluster.nodes, 512);
  std::vector<int> counts = counts_up_to(most);
  if (nodes.cluster.nodes <= most) counts.push_back(nodes.cluster.nodes);
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  for (const int count : counts) {
    const Index hint = measure.curve.empty() ? 1 : measure.curve.back().batch;
    measure.curve.push_back(bench.at(count, hint));
  }
  make_monotone(measure.curve);
  for (const Point& at : measure.curve) {
    if (at.nodes == nodes.cluster.nodes) measure.nodes_value = at.value;
  }
  find_needed(measure, bench);
  find_end(measure);
  return measure;
}

bool trains(const Side& side) { return side.software.exchange != Software::Exchange::star; }

}  // namespace

std::vector<Measure> equal(const Side& device, const Side& nodes, const Model& model,
                           const Terms& terms) {
  std::vector<Measure> all;
  const auto both = [&](const char* type) {
    return device.cluster.device.peak.count(type) > 0 || nodes.cluster.device.peak.count(type) > 0;
  };
  const auto can = [](const Cluster& cluster, const std::string& type) {
    try {
      return cluster.device.rate(type);
    } catch (const std::exception&) {
      return 0.0;
    }
  };
  std::vector<std::string> types;
  for (const char* type : {"fp32", "bf16", "fp8", "int8", "fp4"}) {
    // Where one side has fp8, the int8 of the other stands beside it.
    if (std::string(type) == "int8" && !types.empty() && types.back() == "fp8") continue;
    if (both(type) && can(device.cluster, type) > 0 && can(nodes.cluster, type) > 0) {
      types.emplace_back(type);
    }
  }
  // Four bits in blocks, as laptops and small boards store them.
  if (nodes.cluster.device.peak.count("q40") > 0) types.emplace_back("q40");
  // Where there is something better, nobody computes in fp32.
  if (types.size() > 1 && types.front() == "fp32") types.erase(types.begin());
  for (const std::string& type : types) {
    if (type == "q40") continue;
    all.push_back(sum_of(device, nodes, "peak", type, "FLOP/s",
                         [&](const Cluster& c) { return can(c, type); }));
  }
  all.push_back(sum_of(device, nodes, "memory", "", "B",
                       [](const Cluster& c) { return c.device.memory_bytes.value; }));
  all.push_back(sum_of(device, nodes, "memory rate", "", "B/s",
                       [](const Cluster& c) { return c.device.memory_bandwidth.value; }));
  if (device.cluster.devices() > 1) {
    all.push_back(sum_of(device, nodes, "network rate", "", "B/s", [](const Cluster& c) {
      return c.levels.front().bandwidth / c.levels.front().shared_by;
    }));
  }
  for (const Workload::Kind kind :
       {Workload::Kind::train, Workload::Kind::prefill, Workload::Kind::decode}) {
    const bool training = kind == Workload::Kind::train;
    if (training && (!trains(device) || !trains(nodes))) continue;
    for (const std::string& type : types) {
      if (training && (type == "int8" || type == "fp4" || type == "q40")) continue;
      all.push_back(workload_of(device, nodes, model, kind, type, terms));
    }
  }
  return all;
}

}  // namespace shoal::planning
