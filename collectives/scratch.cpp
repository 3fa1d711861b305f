#include "scratch.hpp"

#include <bit>

namespace shoal {

// A collective may be made of others, which run while it has its memory: those get their own.
struct Scratch::Kept {
  explicit Kept(const Communicator&) {}
  Storage memory;
  bool lent = false;
};

Scratch::Scratch(const Communicator& comm, Bytes bytes) {
  Kept* const kept = bytes <= most_kept ? &comm.extension<Kept>() : nullptr;
  if (kept == nullptr || kept->lent) {
    own_ = Storage(bytes, Memory::local);
    data_ = own_.data();
    return;
  }
  if (kept->memory.bytes() < bytes) {
    kept->memory = {};
    kept->memory = Storage(std::bit_ceil(bytes), Memory::local);
  }
  kept->lent = true;
  kept_ = kept;
  data_ = kept->memory.data();
}

Scratch::~Scratch() {
  if (kept_ != nullptr) kept_->lent = false;
}

}  // namespace shoal
