// What collectives in shared memory and messages between nodes take, for a profile.
#pragma once

#include <string>

#include <shoal/planning/profile.hpp>

#include "tune/condition.hpp"
#include "tune/sampler.hpp"

namespace shoal::bench {

/// How finely, and what to say of it.
struct LinkOptions {
  bool quick = false;
  std::string source;
};

/// The level of the ranks of one node, of which `world` has several: "flag" and every collective, for
/// groups of 2, 4, 8, ... ranks that all work at once. Collective.
planning::Level shared_memory_level(const Communicator& world, const LinkOptions& options);

/// The level between nodes, of which `world` has several: messages by size, and how an exchange and
/// a computation beside it hold each other up. `gamma`: seconds to add a byte. `probe` is taken after each
/// collective. Collective.
planning::Level link_level(const Sampler& sampler, double gamma, const LinkOptions& options,
                           ConditionProbe& probe);

}  // namespace shoal::bench
