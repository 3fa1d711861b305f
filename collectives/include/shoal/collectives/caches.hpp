// When a result is written past the caches: a rule of sizes, and what it knows of the machine.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal {

/// The caches of a node, as far as the rule depends on them.
struct Caches {
  Bytes second = Bytes{1} << 20;  ///< second level of a core
  Bytes third = 0;                ///< one third level; 0: there is none
  int third_threads = 1;          ///< hardware threads that have a third level together
  /// Whether a line that another core holds can be asked for ahead of a store. Intel's cores can. On AMD's
  /// (Zen 5) such a store waits for that core, asked ahead or not: 7 to 16 GB/s, where `rep movsb`, which a
  /// long memcpy is there, reaches 25 to 42.
  bool claims = false;
};

/// Those of this machine: from the kernel, or where it shows none (virtual machines) from the C library.
const Caches& caches_here();

/// What a core has to do with if each of `ranks` ranks on `threads` hardware threads touches `touched` bytes:
/// ranks that share a core share its caches.
Bytes bytes_on_core(Bytes touched, int ranks, int threads) noexcept;

/// Whether what `ranks` ranks on `threads` hardware threads touch, `touched` bytes each, is more than the
/// caches that these ranks have together hold: of every third level the part of the ranks that are around
/// it (in the worst case as many as there is room for), and their second levels, which hold other lines.
bool outgrow_caches(const Caches& caches, Bytes touched, int ranks, int threads) noexcept;

/// Whether ranks that reduce from buffers of all straight into buffers of all write the results past the
/// caches. Each of them reads half of `touched` bytes and writes the other half, which nobody has read lately.
///
/// Written into the caches, a line is first read from where it is, and later pushes another one out. Past them it
/// is not read, but the next reader finds it in memory only. Hence past them once the ranks outgrow_caches()
/// together: memory then carries 2 bytes for each that is touched, not 3 (2 ranks on Zen 5: 4 MiB 99 µs past, 105
/// within; 16 MiB 498 and 690; but 1 MiB 54 past and 23 within). With `claims` also where it makes the inputs, by themselves,
/// just fit the second level (2 ranks on Sapphire Rapids, 2 MiB: 0.114 ms past, 0.14 within; 16 MiB 1.22 and 1.14).
bool sums_go_past(const Caches& caches, Bytes touched, int ranks, int threads) noexcept;

/// The same of copies from where another rank has made the data just before, as from a stage: what is read then
/// comes out of a cache, and only what is written has to go somewhere. Past the caches once the ranks
/// outgrow_caches() together.
///
/// What goes into a stage is never written past them. On a virtual Zen 5 that is 8 to 27 % quicker from 512 KiB on
/// while its two processors are cores of their own, and takes 1.5 to 3 times as long while they are threads of one
/// core; which of the two, nothing tells, and it changes.
bool copies_go_past(const Caches& caches, Bytes touched, int ranks, int threads) noexcept;

}  // namespace shoal
