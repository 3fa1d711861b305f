// What messages and collectives between nodes take, for a profile.
#pragma once

#include <map>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/planning/profile.hpp>

#include "tune/points.hpp"
#include "tune/sampler.hpp"

namespace shoal::bench {

/// The level between nodes, measured in passes, of which the middle counts: messages by size; what
/// a link carries in the long run, and at once after a rest; how an exchange and a computation
/// beside it hold each other up; and every collective over 2, 4, 8, ... nodes, of ranks that have
/// one place on their nodes in common, all such groups at once, and where nodes have several ranks,
/// of all of them. What is called is collective.
class LinkRates {
 public:
  /// Of the ranks of `sampler`, which are on several nodes.
  LinkRates(const Sampler& sampler, const LinkOptions& options);
  void pass();
  /// What the passes so far have found. `gamma`: seconds to add a byte.
  planning::Level level(double gamma) const;

 private:
  struct Group {
    int nodes = 0, ranks = 0;
    bool whole = false;  // all ranks of the nodes
    Communicator comm;
    std::map<Operation, std::vector<std::vector<double>>> times;  // by size, then pass
  };
  void pass_messages();
  void pass_collective(Group& group, Operation operation);

  const Sampler& sampler_;
  LinkOptions options_;
  bool in_pair_ = false;
  Communicator pair_, lane_;
  std::vector<double> sizes_, message_sizes_;
  std::vector<Group> groups_;
  std::vector<std::vector<double>> messages_;  // of 8 bytes, then by size; of each pass
  std::vector<double> rates_, bursts_, slowdowns_, costs_;
  int passes_ = 0;
};

}  // namespace shoal::bench
