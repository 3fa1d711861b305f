// The checksum of files.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include <xxhash.h>

#include <shoal/runtime/units.hpp>

namespace shoal {

/// XXH64 with seed 0 of bytes that come bit by bit.
class FileHash {
 public:
  FileHash() : state_(XXH64_createState()) {
    if (!state_) throw std::bad_alloc();
    XXH64_reset(state_.get(), 0);
  }
  void update(const void* data, Bytes bytes) noexcept { XXH64_update(state_.get(), data, bytes); }
  std::uint64_t digest() const noexcept { return XXH64_digest(state_.get()); }

 private:
  struct Free {
    void operator()(XXH64_state_t* state) const noexcept { XXH64_freeState(state); }
  };
  std::unique_ptr<XXH64_state_t, Free> state_;
};

}  // namespace shoal
