// AdamW over the flat parameters of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <shoal/models/gpt.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/placement.hpp>

namespace shoal::models {

/// AdamW with decoupled weight decay (Loshchilov & Hutter 2019) and clipping by the global norm.
class Optimizer {
 public:
  struct Options {
    float beta1 = 0.9f;
    float beta2 = 0.95f;
    float epsilon = 1e-8f;
    float weight_decay = 0.1f;  ///< on parameters with `decay`
    float clip = 1.0f;          ///< largest global norm of the gradient; 0: no clipping
  };

  /// `model` must outlive the optimizer.
  Optimizer(Gpt& model, const Options& options);

  /// One step from the model's gradients (already reduced over dp), on the part that this rank
  /// owns; then all ranks have all new parameters. Collective over the mesh. Returns the global
  /// norm of the gradient, before clipping. If that is not finite nothing is changed.
  double step(float learning_rate);

  /// Steps taken so far; set when resuming.
  std::int64_t steps() const noexcept { return steps_; }
  void set_steps(std::int64_t steps) noexcept { steps_ = steps; }
  /// Memory of the moments.
  Bytes memory() const noexcept { return 2 * static_cast<Bytes>(m_.size()) * sizeof(float); }
  /// First and second moments of the model's owned() ranges, one after the other; for checkpoints.
  std::span<float> first_moment() noexcept { return m_.span(); }
  std::span<float> second_moment() noexcept { return v_.span(); }

 private:
  // What lies in one group and one owned range.
  struct Piece {
    Block range;         // of the model's arrays
    Index moment = 0;    // offset in the moments
    std::size_t owned = 0;
    bool sharded = false;
    bool decay = false;
  };
  double global_norm() const;

  Gpt& model_;
  Options options_;
  std::vector<Piece> pieces_;
  Buffer<float> m_, v_;
  std::int64_t steps_ = 0;
};

}  // namespace shoal::models
