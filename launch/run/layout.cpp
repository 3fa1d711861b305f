#include "layout.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <queue>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

namespace shoal::launch {
namespace {

// Spreads `ranks` so that the fullest core is as empty as can be: each rank goes where it makes the
// smallest load; of equals, to the earliest host.
std::vector<int> spread(const std::vector<Host>& hosts, int ranks) {
  struct Place {
    std::size_t host;
    std::int64_t ranks_after, slots;
  };
  const auto worse = [](const Place& a, const Place& b) {
    const std::int64_t left = a.ranks_after * b.slots;
    const std::int64_t right = b.ranks_after * a.slots;
    return left != right ? left > right : a.host > b.host;
  };
  std::priority_queue<Place, std::vector<Place>, decltype(worse)> places(worse);
  std::vector<int> shares(hosts.size(), 0);
  const auto begin = static_cast<std::size_t>(
      std::min<std::int64_t>(ranks, static_cast<std::int64_t>(hosts.size())));
  // Every host that was named takes part if there are enough ranks.
  for (std::size_t i = 0; i < begin; ++i) {
    shares[i] = 1;
    places.push({i, 2, hosts[i].slots});
  }
  for (int rank = static_cast<int>(begin); rank < ranks; ++rank) {
    Place best = places.top();
    places.pop();
    ++shares[best.host];
    ++best.ranks_after;
    places.push(best);
  }
  return shares;
}

}  // namespace

int Layout::ranks() const noexcept {
  return std::accumulate(shares.begin(), shares.end(), 0,
                         [](int sum, const Share& share) { return sum + share.ranks; });
}

const Host& Layout::host_of(int rank) const {
  for (const Share& share : shares) {
    if (rank < share.ranks) return share.host;
    rank -= share.ranks;
  }
  throw Error("launch", fmt::format("no rank {} in this layout", rank));
}

Layout lay_out(const std::vector<Host>& hosts, const LayoutWish& wish) {
  std::vector<int> ranks(hosts.size(), 0);
  if (wish.ranks_per_host) {
    const std::int64_t all =
        static_cast<std::int64_t>(*wish.ranks_per_host) * static_cast<std::int64_t>(hosts.size());
    std::int64_t left = wish.ranks ? *wish.ranks : all;
    if (left > all) {
      throw UsageError("-n " + std::to_string(left),
                       fmt::format("{} host{} with --ranks-per-host {} hold {} ranks", hosts.size(),
                                   hosts.size() == 1 ? "" : "s", *wish.ranks_per_host, all),
                       "ask for fewer ranks, more of them a host, or name more hosts");
    }
    for (int& share : ranks) {
      share = static_cast<int>(std::min<std::int64_t>(left, *wish.ranks_per_host));
      left -= share;
    }
  } else if (wish.ranks) {
    ranks = spread(hosts, *wish.ranks);
  } else {
    const int threads = wish.threads.value_or(1);
    for (std::size_t i = 0; i < hosts.size(); ++i) ranks[i] = std::max(1, hosts[i].slots / threads);
  }

  Layout layout;
  int threads = 0;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (ranks[i] == 0) continue;
    layout.shares.push_back({hosts[i], ranks[i]});
    const int room = std::max(1, hosts[i].slots / ranks[i]);
    threads = threads == 0 ? room : std::min(threads, room);
  }
  layout.threads = wish.threads.value_or(threads);
  for (const Layout::Share& share : layout.shares) {
    if (static_cast<std::int64_t>(share.ranks) * layout.threads > share.host.slots) {
      layout.oversubscribed = true;
    }
  }
  return layout;
}

}  // namespace shoal::launch
