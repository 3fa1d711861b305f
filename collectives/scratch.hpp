// Memory that a collective needs for as long as it runs.
#pragma once

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// `bytes` of private memory, with what was in it before. Up to most_kept of it stays with the
/// communicator for the next call: fresh pages cost a fault each, and on a virtual machine perhaps one of
/// its host, too (reduce-scatters of 1 MiB between two hosts at 10 Gbit/s took 6 ms with fresh memory at
/// each call, which is 23 µs a page; 0.5 ms without). Larger memory comes in huge pages.
class Scratch {
 public:
  static constexpr Bytes most_kept = Bytes{16} << 20;

  Scratch(const Communicator& comm, Bytes bytes);
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  std::byte* data() const noexcept { return data_; }

 private:
  struct Kept;
  Kept* kept_ = nullptr;  // who lends it; null: it is `own_`
  Storage own_;
  std::byte* data_ = nullptr;
};

}  // namespace shoal
