// One collective at one size: its buffers, the calls that compete on them, and the right result.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <shoal/bench/bench.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// Buffers of one operation and size, and the calls on them. Every rank makes the same one.
class Contest {
 public:
  /// `bytes`: of the longer of input and output, rounded to equal blocks of at least an element.
  /// `in_place`: an all-reduce whose output is its input.
  Contest(const Communicator& comm, Operation operation, DType type, ReduceOp op, Memory memory,
          Bytes bytes, bool in_place = false);

  /// Runs the operation with an algorithm of the registry, "auto" or "reproducible".
  void run(const std::string& algorithm) { run_on(comm_, algorithm); }
  /// The same on another communicator of the same ranks in the same order.
  void run_on(const Communicator& comm, const std::string& algorithm);
  /// Ways to read and write, all ranks at once, as much memory as must be at least: plain loops over the
  /// very buffers of the contest, with and without stores past the caches. The quickest is the bound. On
  /// shared memory the loops of a reduction also run over a part of everybody's buffers each. Outputs
  /// hold nonsense after them. Where ranks of any node share cores they meet after each: only
  /// then have all of them been given one. The same number on all ranks. Collective.
  std::vector<std::function<void()>> memory_ways();
  /// Runs it once more on a poisoned output. Throws Error on all ranks if the result is wrong on any.
  void check(const std::string& algorithm);
  /// Those of `names` that can do this call here, alike on all ranks.
  std::vector<std::string> those_that_apply(const std::vector<std::string>& names);

  /// Of the longer of input and output.
  Bytes bytes() const noexcept { return static_cast<Bytes>(count_) * size_of(type_); }

 private:
  double input_at(Rank rank, Index index) const;
  double expected_at(Index index) const;
  void learn_addresses();
  void set_input(std::byte* data) const;
  std::byte* input() noexcept { return in_place_ ? out_.data() : in_.data(); }
  Index in_count() const noexcept;
  Index out_count() const noexcept;

  const Communicator& comm_;
  Operation operation_;
  DType type_;
  ReduceOp op_;
  const bool in_place_;
  Index each_;   // of a block, where there is one for each rank
  Index count_;  // of the longer of input and output
  Storage in_, out_;  // in_: none where the output is the input
  std::vector<const std::byte*> inputs_;  // by rank; empty unless all are shared
  std::vector<std::byte*> outputs_;
};

/// True if the operation combines elements.
bool reduces(Operation operation) noexcept;
/// True if `algorithm` "reproducible" means something for these.
bool sums_rounded(Operation operation, DType type, ReduceOp op) noexcept;

}  // namespace shoal::bench
