// An algorithm for the ranks of one node: one of the node's collectives, by one of the paths that
// its data can take.
#pragma once

#include "algorithm.hpp"
#include "node/cost.hpp"
#include "node/node_collectives.hpp"

namespace shoal {

class NodeAlgorithm : public NamedAlgorithm {
 public:
  using Collective = bool (*)(const Call&, NodePath);
  NodeAlgorithm(const Texts& texts, Collective collective, NodePath path)
      : NamedAlgorithm(texts), collective_(collective), path_(path) {}
  /// Those that reduce bring all inputs together at once.
  bool reproduces() const noexcept override {
    return operation() == Operation::all_reduce || operation() == Operation::reduce_scatter;
  }
  void run(const Call& call) const override { collective_(call, path_); }

 protected:
  /// What of `bytes` passes a rank: of an all-reduce also the others' results.
  double moved(Bytes bytes) const noexcept {
    return (operation() == Operation::all_reduce ? 2.0 : 1.0) * static_cast<double>(bytes);
  }

 private:
  const Collective collective_;
  const NodePath path_;
};

}  // namespace shoal
