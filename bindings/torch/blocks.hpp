// The memory of large tensors: where each block begins, how large it is, and when it ends.
#pragma once

#include <map>
#include <mutex>

#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

/// Blocks of whole pages. Kept apart from what they are made of: so it is known what is one, and all
/// of it. Thread safe, and usable in a child made by fork().
class Blocks {
 public:
  static Blocks& get();

  /// In the heap that all ranks of the node see. Null where it has no room.
  void* take_shared(Bytes bytes);
  /// In the C library's heap, with nothing else in its pages. Null where it has no room.
  void* take_private(Bytes bytes);
  /// False if it is none.
  bool give_back(void* block);

  /// To be called with the buffer of a collective, before others may read it. If it is all of a private
  /// block that has come before, its pages are lent to the ranks of the node (node_memory::lend). True if
  /// they are.
  bool lend_if_it_recurs(void* data, Bytes bytes);

 private:
  struct Block {
    Bytes capacity = 0;
    bool shared = false;
    bool lent = false;
    bool refused = false;  // no memory to lend it
    int times = 0;         // in a collective, up to 2
  };
  Blocks();

  // Not held while pages are lent or taken back: fork() takes this lock, and the one of those.
  std::mutex mutex_;
  std::map<void*, Block> used_;
  std::multimap<Bytes, void*> spares_;  // shared ones
  Bytes spare_bytes_ = 0;
};

}  // namespace shoal::torch_backend
