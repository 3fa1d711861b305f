// Communicators over several nodes: what may be done there by connections of Shoal's own.
#pragma once

#include <map>
#include <utility>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::preload {

/// The call, of those that could be Shoal's, in which the ranks of a communicator over several
/// nodes connect; those before are MPI's. A program may make thousands of communicators for one
/// call each, and to connect costs four hosts 0.8 ms with one rank each, 2.4 ms with two: what
/// about as many short calls as this gain (13 and 40 µs each).
inline constexpr int calls_before_connecting = 64;

/// Collective: whether all can.
bool all_can(const Communicator& comm, bool can);

/// File descriptors that connections may take, put aside from what the process may open: at most
/// half of that in all, since the rest is the program's.
class Descriptors {
 public:
  Descriptors() = default;
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors();
  /// Once. False if there are not so many left.
  bool put_aside(int wanted) noexcept;

 private:
  int count_ = 0;
};

/// A communicator's ways to other nodes. Everything it tells is the same on all its ranks.
class Between {
 public:
  /// Collective. A communicator over several nodes.
  explicit Between(const Communicator& comm);
  Between(const Between&) = delete;
  Between& operator=(const Between&) = delete;

  /// False: its calls are MPI's.
  bool usable() const noexcept { return usable_; }
  /// Whether every rank has a node to itself.
  bool alone() const noexcept { return alone_; }
  /// The algorithm that does the call sooner than MPI, all of whose messages take those ways: MPI's
  /// on this handle are the program's. Null: there is none.
  const Algorithm* choice(const Call& call);

 private:
  bool may_take(const Algorithm& algorithm, const Call& call) const;
  const Algorithm* find(const Call& call) const;

  const Communicator& comm_;
  bool alone_ = false;
  bool any_root_ = false;  // there are descriptors for broadcasts from every rank
  Descriptors descriptors_;
  bool usable_ = false;
  std::map<std::pair<Operation, Bytes>, const Algorithm*> made_;
};

}  // namespace shoal::preload
