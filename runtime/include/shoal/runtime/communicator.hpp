// An ordered group of ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <typeindex>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// A group of ranks that talk to each other. Owns its MPI communicator; movable, not copyable.
/// Collectives on it are free functions in shoal/collectives. Every rank of the group must call them
/// in the same order.
class Communicator {
 public:
  struct Impl;
  explicit Communicator(std::unique_ptr<Impl> impl);
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  /// Frees the MPI communicator, on each rank for itself: nobody waits.
  ~Communicator();

  Rank rank() const noexcept;
  int size() const noexcept;
  /// For messages: "world", "tp", ...
  const std::string& name() const noexcept;

  /// New groups, one for each colour, ordered by (key, rank). Collective.
  Communicator split(int colour, int key, std::string name) const;
  /// The same ranks, messages apart. Collective.
  Communicator duplicate(std::string name) const;

  /// Some of these ranks, this one among them, ascending, without messages of their own: for those
  /// who meet in shared memory. Local. split(), duplicate() and all that sends messages fail on it.
  Communicator members(std::span<const Rank> ranks, std::string name) const;

  /// Host name of a rank.
  const std::string& host_of(Rank rank) const;
  /// Number of the node a rank lives on, from 0, in order of each node's first rank here.
  int node_of(Rank rank) const;
  /// Number of nodes that have a rank here.
  int node_count() const noexcept;
  bool on_one_node() const noexcept { return node_count() == 1; }
  /// The rank's number in the Runtime's world.
  Rank world_rank_of(Rank rank) const;

  /// State of a layer above, one object of type T for each communicator, made at the first call by
  /// T(const Communicator&), with `more` behind if there is any, and destroyed with the
  /// communicator. If that constructor communicates, the first call is collective.
  template <class T, class... More>
  T& extension(const More&... more) const {
    std::shared_ptr<void>& slot = extension_slot(typeid(T));
    if (!slot) slot = std::make_shared<T>(*this, more...);
    return *static_cast<T*>(slot.get());
  }

  /// For shoal/runtime/mpi_interop.hpp.
  const Impl& impl() const noexcept { return *impl_; }

 private:
  std::shared_ptr<void>& extension_slot(std::type_index type) const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal
