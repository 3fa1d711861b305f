// Which host gets how many ranks, and how they are bound to cores.
#pragma once

#include <optional>
#include <vector>

#include "hosts.hpp"

namespace shoal::launch {

/// What the user asked for; what is not given is chosen.
struct LayoutWish {
  std::optional<int> ranks;
  std::optional<int> ranks_per_host;
  std::optional<int> threads;  ///< compute threads of a rank
};

/// Ranks in blocks: 0 to k-1 on the first host, and so on.
struct Layout {
  struct Share {
    Host host;      ///< with its slots known
    int ranks = 0;  ///< at least 1
  };
  std::vector<Share> shares;
  int threads = 1;
  /// Some host has fewer cores than its ranks have threads: nobody is bound, and who waits yields.
  bool oversubscribed = false;

  int ranks() const noexcept;
  const Host& host_of(int rank) const;
};

/// One rank a core over all hosts, unless the wish says otherwise. A number of ranks is spread so
/// that each core gets as equal a share as can be; hosts beyond the number of ranks stay empty. The
/// slots of every host must be known. Throws UsageError if the wish contradicts itself.
Layout lay_out(const std::vector<Host>& hosts, const LayoutWish& wish);

}  // namespace shoal::launch
