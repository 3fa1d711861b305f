// The part of the token embedding's gradient that comes last.
//
// The embedding is tied to the head: the head's part of its gradient is dense and comes first in the
// backward pass, the embedding's own part comes last, and touches only the rows of the batch's tokens.
// So the first part may travel while the rest of the backward pass goes on, and only the touched rows
// travel after it. Waiting for both, a third of the gradient of GPT-2 124M would travel after the end.
#pragma once

#include <cstdint>
#include <vector>

#include <shoal/collectives/work.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::models {

/// The rows that one rank of `dp` contributes, and their sum over all. What is known early may be told to
/// the others early, in the background (nonblocking.hpp): all ranks must make the same calls.
class LateEmbedding {
 public:
  /// `ids`: those whose rows this rank's table holds. All ranks of `dp` have the same ones. Rows travel as
  /// `wire`: f32, or bf16.
  LateEmbedding(const Communicator& dp, const Block& ids, Index width, DType wire);

  /// Begins to tell which rows will come: those of `tokens`, and of no others. The tokens of a pass are
  /// known long before the gradients of their rows.
  void announce(Index rows, const std::int32_t* tokens);
  /// The next step of that, for which the last one must have had its time: to be called between
  /// announce() and collect().
  void announce_further();
  /// Adds dout[rows x width] to the rows of its tokens, as far as they are this rank's ids.
  void collect(Index rows, const std::int32_t* tokens, const float* dout);
  /// All has been collected: begins to send it, after what the background of `dp` has to do already.
  void send();

  /// Adds what all ranks have collected to table[ids x width], in the order of ranks, and forgets it.
  /// As rows, or as a dense sum if that is less to send. What has not begun is done now. Collective.
  void add_to(float* table);

 private:
  enum class Told { nothing, counts, ids, rows };
  std::int32_t place_of(Index id);
  bool densely() const;
  void tell_counts();
  void tell_ids();
  void tell_rows();
  void add_rows(const std::int32_t* ids, const float* rows, std::size_t count, float* table) const;
  void add_densely(float* table);

  const Communicator& dp_;
  Block ids_;
  Index width_;
  DType wire_;
  std::vector<std::int32_t> touched_;  // ids, from 0, in the order in which they came
  std::vector<float> rows_;            // theirs
  std::vector<std::int32_t> place_;    // by id: in touched_; -1: not there
  Told told_ = Told::nothing;
  Index mine_ = 0;               // rows
  std::vector<Index> counts_;    // of all ranks
  Index all_ = 0;                // their sum
  std::vector<std::int32_t> all_ids_;
  Buffer<float> all_rows_;       // kept: fresh memory costs page faults
  Work under_way_;               // the last of what has begun; its buffers are above
};

}  // namespace shoal::models
