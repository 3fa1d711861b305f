#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include <shoal/planning/search.hpp>

namespace shoal::planning {
namespace {

std::vector<int> divisors(Index n, Index most) {
  std::vector<int> all;
  for (Index i = 1; i * i <= n; ++i) {
    if (n % i != 0) continue;
    if (i <= most) all.push_back(static_cast<int>(i));
    if (n / i != i && n / i <= most) all.push_back(static_cast<int>(n / i));
  }
  std::sort(all.begin(), all.end());
  return all;
}

// Numbers of stages: of those with equally many layers in the fullest, the fewest.
std::vector<int> stage_counts(Index layers, int most) {
  std::vector<int> counts;
  Index fullest = 0;
  for (int p = 1; p <= layers && p <= most; ++p) {
    const Index here = (layers + p - 1) / p;
    if (here != fullest) counts.push_back(p);
    fullest = here;
  }
  return counts;
}

class Search {
 public:
  Search(const Model& model, const Software& software, const Cluster& cluster,
         const Workload& workload, const Fixed& fixed, std::size_t most)
      : model_(model),
        software_(software),
        prices_(cluster),
        workload_(workload),
        fixed_(fixed),
        most_(most),
        devices_(fixed.ranks > 0 ? fixed.ranks : cluster.devices()) {}

  Found run() {
    for (const int tp : tensor_parallel()) {
      for (const int pp : stages(devices_ / tp)) {
        for (const int dp : replicas(devices_ / tp / pp)) {
          Layout layout;
          layout.tp = tp;
          layout.pp = pp;
          layout.dp = dp;
          if (fixed_.ranks > 0 && layout.ranks() != fixed_.ranks) continue;
          with_experts(layout);
        }
      }
    }
    std::sort(found_.best.begin(), found_.best.end(), quicker);
    if (found_.best.size() > most_) found_.best.resize(most_);
    if (!found_.best.empty()) found_.nearest.reset();
    return std::move(found_);
  }

 private:
  bool training() const { return workload_.kind == Workload::Kind::train; }

  // Equal times: the fewest ranks, then the least memory.
  static bool quicker(const Estimate& a, const Estimate& b) {
    if (std::abs(a.seconds - b.seconds) > 1e-9 * a.seconds) return a.seconds < b.seconds;
    if (a.layout.ranks() != b.layout.ranks()) return a.layout.ranks() < b.layout.ranks();
    return a.memory.total() < b.memory.total();
  }

  std::vector<int> tensor_parallel() const {
    if (fixed_.tp > 0) return {fixed_.tp};
    return divisors(model_.heads, devices_);
  }
  std::vector<int> stages(int most) const {
    if (fixed_.pp > 0) return {fixed_.pp};
    if (!software_.pipeline) return {1};
    return stage_counts(model_.layers, most);
  }
  // Those that leave no more than half of the devices idle: fewer are another search's.
  std::vector<int> replicas(int most) const {
    if (fixed_.dp > 0) return {fixed_.dp};
    if (most < 1) return {};
    std::vector<int> all;
    if (training()) {
      all = divisors(workload_.batch, most);
    } else {
      for (Index dp = std::min<Index>(most, workload_.batch); dp >= 1; dp /= 2) {
        all.push_back(static_cast<int>(dp));
      }
      std::sort(all.begin(), all.end());
      if (software_.exchange == Software::Exchange::star) all = {1};
      return all;
    }
    if (fixed_.ranks == 0 && all.size() > 3) all.erase(all.begin(), all.end() - 3);
    return all;
  }

  void with_experts(Layout layout) {
    if (model_.experts == 0 || !software_.expert_parallel) return with_micro_batches(layout);
    if (fixed_.ep > 0) {
      layout.ep = fixed_.ep;
      return with_micro_batches(layout);
    }
    for (const int ep : divisors(model_.experts, static_cast<Index>(layout.dp) * layout.tp)) {
      layout.ep = ep;
      with_micro_batches(layout);
    }
  }

  void with_micro_batches(Layout layout) {
    const Index share = std::max<Index>(1, workload_.batch / layout.dp);
    if (fixed_.micro_batch > 0) {
      layout.micro_batch = fixed_.micro_batch;
      with_savings(layout);
      return;
    }
    if (workload_.kind == Workload::Kind::decode) {
      with_savings(layout);
      return;
    }
    // Of a pipeline the micro-batches are what fills it.
    if (software_.largest_micro_batch && training() && layout.pp == 1) {
      for (Index micro = share; micro >= 1; micro = micro == 1 ? 0 : (micro + 1) / 2) {
        if (share % micro != 0) continue;
        layout.micro_batch = micro;
        if (with_savings(layout)) return;
      }
      return;
    }
    for (Index micro = 1; micro <= share; micro *= 2) {
      layout.micro_batch = micro;
      if (training() && share % micro != 0) break;
      // What no longer fits with all savings will not with more sequences either.
      if (!with_savings(layout)) break;
    }
  }

  bool with_savings(Layout layout) {
    bool any = false;
    std::vector<int> chunks = {1};
    if (fixed_.interleave > 0) {
      chunks = {fixed_.interleave};
    } else if (software_.interleave && layout.pp > 1 && training() &&
               model_.layers % layout.pp == 0) {
      chunks = divisors(model_.layers / layout.pp, 16);
    }
    if (layout.tp > 1 && training()) layout.sequence_parallel = software_.sequence_parallel;
    for (const int v : chunks) {
      layout.interleave = v;
      if (!training()) {
        any |= consider(layout);
        continue;
      }
      const int most_zero = layout.dp > 1 ? software_.most_zero : 0;
      for (int zero = 0; zero <= most_zero; ++zero) {
        if (fixed_.zero >= 0 && zero != std::min(fixed_.zero, most_zero)) continue;
        layout.zero = zero;
        for (const Recompute recompute : {Recompute::none, Recompute::selective, Recompute::full}) {
          if (fixed_.recompute && recompute != *fixed_.recompute) continue;
          if (recompute == Recompute::selective && !software_.selective_recompute) continue;
          layout.recompute = recompute;
          // What is kept only grows less, and what is done only more, from one to the next.
          if (consider(layout)) {
            any = true;
            break;
          }
        }
      }
    }
    return any;
  }

  // True if it fits.
  bool consider(const Layout& layout) {
    Estimate made = estimate(model_, software_, prices_, workload_, layout);
    if (made.why_not.empty()) {
      ++found_.tried;
      keep(std::move(made));
      return true;
    }
    if (made.memory.total() > 0) {
      ++found_.tried;
      ++found_.too_large;
      if (!found_.nearest || made.memory.total() < found_.nearest->memory.total()) {
        found_.nearest = std::move(made);
      }
    }
    return false;
  }

  static bool alike(const Layout& a, const Layout& b) {
    return a.dp == b.dp && a.tp == b.tp && a.pp == b.pp && a.ep == b.ep &&
           a.micro_batch == b.micro_batch && a.interleave == b.interleave;
  }

  void keep(Estimate made) {
    for (Estimate& each : found_.best) {
      if (!alike(each.layout, made.layout)) continue;
      if (quicker(made, each)) each = std::move(made);
      return;
    }
    found_.best.push_back(std::move(made));
    const std::size_t room = std::max<std::size_t>(2 * most_, 16);
    if (found_.best.size() > room) {
      std::nth_element(found_.best.begin(), found_.best.begin() + static_cast<long>(most_),
                       found_.best.end(), quicker);
      found_.best.resize(std::max<std::size_t>(most_, 1));
    }
  }

  const Model& model_;
  const Software& software_;
  const Prices prices_;
  const Workload& workload_;
  const Fixed fixed_;
  const std::size_t most_;
  const int devices_;
  Found found_;
};

// The changes that improvements() tries.
struct Change {
  std::string text;
  Cluster cluster;
  bool again = false;  // another layout may be the best, or fit
};

std::vector<Change> changes_of(const Cluster& cluster) {
  std::vector<Change> changes;
  const auto add = [&](const std::string& text, bool again, const auto& change) {
    Change& made = changes.emplace_back(Change{text, cluster, again});
    change(made.cluster);
  };
  for (std::size_t i = 0; i < cluster.levels.size(); ++i) {
    const std::string& name = cluster.levels[i].name;
    add("twice the bandwidth of " + name, false,
        [&](Cluster& c) { c.levels[i].bandwidth.value *= 2; });
    add("half the latency of " + name, false, [&](Cluster& c) {
      c.levels[i].latency.value /= 2;
      c.levels[i].overhead.value /= 2;
    });
  }
  add("twice the rate of products", false, [](Cluster& c) {
    for (auto& [type, peak] : c.device.peak) peak.value *= 2;
  });
  add("twice the bandwidth of memory", false,
      [](Cluster& c) { c.device.memory_bandwidth.value *= 2; });
  add("half the time of launches", false, [](Cluster& c) { c.device.launch_seconds.value /= 2; });
  add("twice the memory", true, [](Cluster& c) { c.device.memory_bytes.value *= 2; });
  add("twice the nodes", true, [](Cluster& c) { c.nodes *= 2; });
  return changes;
}

}  // namespace

Found search(const Model& model, const Software& software, const Cluster& cluster,
             const Workload& workload, const Fixed& fixed, std::size_t most) {
  check(workload, model);
  return Search(model, software, cluster, workload, fixed, most).run();
}

std::vector<Improvement> improvements(const Model& model, const Software& software,
                                      const Cluster& cluster, const Workload& workload,
                                      const Fixed& fixed, const Found& found) {
  std::vector<Improvement> all;
  if (found.best.empty()) return all;
  const double before = found.best.front().seconds;
  Fixed free = fixed;
  free.ranks = 0;
  for (const Change& change : changes_of(cluster)) {
    std::vector<Estimate> made;
    if (change.again) {
      made = search(model, software, change.cluster, workload, free, 1).best;
    } else {
      const Prices prices(change.cluster);
      for (const Estimate& each : found.best) {
        made.push_back(estimate(model, software, prices, workload, each.layout));
      }
    }
    const auto best = std::min_element(
        made.begin(), made.end(),
        [](const Estimate& a, const Estimate& b) { return a.seconds < b.seconds; });
    if (best == made.end() || !(best->seconds > 0)) continue;
    all.push_back({change.text, best->seconds, before / best->seconds, best->layout});
  }
  std::stable_sort(all.begin(), all.end(), [](const Improvement& a, const Improvement& b) {
    return a.speedup > b.speedup;
  });
  return all;
}

}  // namespace shoal::planning
