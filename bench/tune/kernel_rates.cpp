#include "tune/kernel_rates.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/kernels/local/activation.hpp>
#include <shoal/kernels/local/attention.hpp>
#include <shoal/kernels/local/dropout.hpp>
#include <shoal/kernels/local/embedding.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/kernels/local/norm.hpp>
#include <shoal/kernels/local/optimizer.hpp>
#include <shoal/kernels/parallel/cross_entropy.hpp>
#include <shoal/planning/kernels.hpp>
#include <shoal/runtime/memory_left.hpp>

#include "timing.hpp"

namespace shoal::bench {
namespace {

using planning::Form;
using planning::Table;

// Of either pool: as large as the caches of a large processor at most, and a small part of the memory.
constexpr Index least_pool = Index{7} << 20;
constexpr Index most_pool = Index{160} << 20;
constexpr double memory_part = 1.0 / 16;
// A product this long goes at the rate of one half as large.
constexpr double longest_product = 1.2e9;

// Results have a pool of their own, so that what is computed with stays as it is, and ordinary.
Index pool_floats(const Communicator& world, bool quick) {
  if (quick) return least_pool;
  int ranks = 0;
  for (Rank rank = 0; rank < world.size(); ++rank) {
    ranks += world.node_of(rank) == world.node_of(world.rank());
  }
  const double bytes = memory_part * static_cast<double>(memory_left().bytes) / ranks;
  auto floats = static_cast<Index>(std::clamp(bytes / sizeof(float), double{least_pool},
                                              double{most_pool}));
  all_reduce(world, &floats, &floats, 1, DType::i64, ReduceOp::min);
  return floats;
}

Index whole_of(double value) { return static_cast<Index>(value); }

std::vector<double> powers(double from, double to, double factor) {
  std::vector<double> values;
  for (double value = from; value <= to * 1.0001; value *= factor) values.push_back(value);
  return values;
}

class Rates {
 public:
  Rates(const Sampler& sampler, const RateOptions& options)
      : sampler_(sampler),
        options_(options),
        pool_(pool_floats(sampler.world(), options.quick)),
        results_(pool_floats(sampler.world(), options.quick)),
        self_(sampler.world().split(sampler.world().rank(), 0, "self")) {}

  // Other work on a machine, or its clock, makes some seconds of it unlike the rest: each figure is
  // measured in every pass, and the middle one counts. A machine that was otherwise in one of the passes
  // gets some more of them.
  std::map<std::string, Table> all(ConditionProbe& probe) {
    std::vector<std::map<std::string, Table>> passes;
    const int wanted = options_.quick ? 1 : rate_passes;
    constexpr int most_more = 2;
    int alike = 0;
    while (alike < wanted && static_cast<int>(passes.size()) < wanted + most_more) {
      kernels();
      if (options_.after_pass) options_.after_pass();
      passes.push_back(std::move(tables_));
      tables_.clear();
      probe.take();
      const Probe middle = middle_of(probe.taken());
      alike = static_cast<int>(std::count_if(
          probe.taken().end() - static_cast<std::ptrdiff_t>(passes.size()), probe.taken().end(),
          [&](const Probe& each) { return work_apart(each, middle) < work_tolerance; }));
    }
    options_.step("memory behind the caches");
    if (!options_.quick) cold_operands();
    for (auto& [name, table] : passes.front()) {
      for (std::size_t i = 0; i < table.values.size(); ++i) {
        std::vector<double> of_passes;
        for (const auto& pass : passes) of_passes.push_back(pass.at(name).values[i]);
        table.values[i] = median(of_passes);
      }
    }
    passes.front().merge(tables_);
    return std::move(passes.front());
  }

 private:
  void kernels() {
    for (const std::string& type : options_.types) {
      for (const Form form : planning::all_forms) products(type, form);
      for (const bool backward : {false, true}) attention(type, backward);
    }
    for (const planning::StreamKernel& kernel : planning::stream_kernels) {
      options_.step(std::string(kernel.name));
      kernel.by_rows ? by_rows(kernel.name) : by_elements(kernel.name);
    }
  }

  // What it adds to a product that its weight, or the gradient of it, comes from further away.
  void cold_operands() {
    constexpr Index side = 1024, rows = 128;
    std::vector<double> footprints;
    for (double bytes = 16e6; bytes < 1.9 * 4 * static_cast<double>(pool_.size()); bytes *= 2) {
      footprints.push_back(bytes);
    }
    for (const bool gradient : {false, true}) {
      const Form form = gradient ? Form::tn : Form::nt;
      Table& table =
          add_table(std::string(gradient ? planning::cold_gradients : planning::cold_weights),
                    {footprints});
      double near = 0;
      for (const double bytes : footprints) {
        // Half of what is touched between two uses is read, half written.
        pool_.reach_exactly(gradient ? footprints.front() / 2 : bytes / 2);
        results_.reach_exactly(gradient ? bytes / 2 : footprints.front() / 2);
        const double seconds = gradient ? run_product(kernels::Precision::fp32, form, side, side, rows)
                                        : run_product(kernels::Precision::fp32, form, rows, side, side);
        if (near == 0) near = seconds;
        constexpr double least = 1e-15;
        table.values.push_back(std::max((seconds - near) / (4.0 * side * side), least));
      }
    }
  }

  Table& add_table(const std::string& name, std::vector<std::vector<double>> axes) {
    Table& table = tables_[name];
    table.axes = std::move(axes);
    table.source = options_.source;
    return table;
  }
  std::vector<double> grid(double from, double to, double factor) const {
    return options_.quick ? std::vector<double>{from, std::sqrt(from * to), to}
                          : powers(from, to, factor);
  }
  // Four arrays of AdamW, three of them results, fit in the pools.
  double longest_stream() const {
    double longest = 1 << 10;
    while (4 * longest * 3 <= static_cast<double>(pool_.size())) longest *= 4;
    return longest;
  }
  double largest_stream() const { return options_.quick ? 1 << 20 : 1 << 22; }
  void reach(double operand_bytes) {
    pool_.reach(operand_bytes);
    results_.reach(operand_bytes);
  }
  static kernels::Precision precision_of(const std::string& type) {
    return type == "bf16" ? kernels::Precision::bf16 : kernels::Precision::fp32;
  }

  void products(const std::string& type, Form form) {
    const std::string name = planning::product_table(type, form);
    options_.step(name);
    const std::vector<double> axis = grid(32, 2048, 2);
    Table& table = add_table(name, {axis, axis, axis});
    const std::size_t n = axis.size();
    for (std::size_t i = 0; i < n * n * n; ++i) {
      const std::size_t at[3] = {i / (n * n), i / n % n, i % n};
      const double rows = axis[at[0]], cols = axis[at[1]], depth = axis[at[2]];
      if (2 * rows * cols * depth > longest_product) {
        std::size_t half[3] = {at[0], at[1], at[2]};
        --*std::max_element(half, half + 3);
        table.values.push_back(table.values[(half[0] * n + half[1]) * n + half[2]]);
        continue;
      }
      const double seconds = product(precision_of(type), form, whole_of(rows), whole_of(cols),
                                     whole_of(depth));
      table.values.push_back(seconds / (2 * rows * cols * depth));
    }
  }

  double product(kernels::Precision precision, Form form, Index m, Index n, Index k) {
    reach(4.0 * static_cast<double>(m * k + k * n + m * n));
    return run_product(precision, form, m, n, k);
  }

  double run_product(kernels::Precision precision, Form form, Index m, Index n, Index k) {
    using kernels::Trans;
    return sampler_.time([&] {
      const float* a = pool_.take(m * k);
      const float* b = pool_.take(k * n);
      float* c = results_.take(m * n);
      kernels::gemm(form == Form::tn ? Trans::yes : Trans::no,
                    form == Form::nt ? Trans::yes : Trans::no, m, n, k, 1.0f, a,
                    form == Form::tn ? m : k, b, form == Form::nt ? k : n, 0.0f, c, n, precision);
    });
  }

  void attention(const std::string& type, bool backward) {
    const std::string name = planning::attention_table(type, backward);
    options_.step(name);
    const std::vector<double> tokens = grid(16, 1024, 2);
    const std::vector<double> heads = {32, 64, 128};
    Table& table = add_table(name, {tokens, heads});
    for (const double time : tokens) {
      for (const double width : heads) {
        kernels::AttentionShape shape;
        shape.batch = 2;
        shape.time = whole_of(time);
        shape.heads = 2;
        shape.head_dim = whole_of(width);
        const Index one = shape.batch * shape.time * shape.heads * shape.head_dim;
        reach(4.0 * 6 * static_cast<double>(one));
        const double seconds = sampler_.time([&] {
          const float* qkv = pool_.take(3 * one);
          float* out = results_.take(one);
          float* sums = results_.take(shape.batch * shape.heads * shape.time);
          if (!backward) {
            kernels::causal_attention_forward(shape, qkv, out, sums, {}, precision_of(type));
            return;
          }
          // Exponentials of scores less a large sum are small, not infinite.
          std::fill_n(sums, shape.batch * shape.heads * shape.time, 10.0f);
          kernels::causal_attention_backward(shape, qkv, out, sums, pool_.take(one),
                                             results_.take(3 * one), {}, precision_of(type));
        });
        table.values.push_back(seconds / static_cast<double>(shape.batch * shape.heads) /
                               (time * time * width));
      }
    }
  }

  void by_elements(std::string_view name) {
    const std::vector<double> elements = grid(1 << 10, options_.quick ? 1 << 20 : longest_stream(), 4);
    Table& table = add_table(std::string(name), {elements});
    for (const double count : elements) {
      const Index n = whole_of(count);
      reach(4.0 * 3 * count);
      const double seconds = sampler_.time([&] { run_over_elements(name, n); });
      table.values.push_back(seconds / count);
    }
  }

  void run_over_elements(std::string_view name, Index n) {
    if (name == "gelu_backward") {
      float* dy = results_.take(n);
      kernels::gelu_backward(n, pool_.take(n), dy, dy);
    } else if (name == "add") {
      const float* a = pool_.take(n);
      const float* b = pool_.take(n);
      kernels::add(n, a, b, results_.take(n));
    } else if (name == "fill") {
      std::fill_n(results_.take(n), n, 1e-3f);
    } else if (name == "dropout") {
      const float* x = pool_.take(n);
      kernels::dropout_forward({0.1f, {1, 2, 3}}, 0, n, x, results_.take(n));
    } else if (name == "sum_of_squares") {
      kept_ = kernels::sum_of_squares(n, pool_.take(n));
    } else {  // adamw
      kernels::AdamW adamw;
      adamw.learning_rate = 1e-6f;
      float* weights = results_.take(n);
      const float* gradients = pool_.take(n);
      float* m = results_.take(n);
      float* v = results_.take(n);
      kernels::adamw_step(adamw, n, weights, gradients, 1e-3f, m, v);
    }
  }

  void by_rows(std::string_view name) {
    const bool wide = name.starts_with("cross_entropy");
    const std::vector<double> columns =
        wide ? std::vector<double>{64, 1024, 16384} : std::vector<double>{64, 256, 1024};
    const std::vector<double> elements = grid(1 << 12, largest_stream(), 8);
    Table& table = add_table(std::string(name), {columns, elements});
    for (const double cols : columns) {
      for (const double count : elements) {
        const Index c = whole_of(cols);
        const Index r = std::max<Index>(1, whole_of(count) / c);
        reach(4.0 * 3 * static_cast<double>(r * c));
        prepare_rows(r, c);
        const double seconds = sampler_.time([&] { run_over_rows(name, r, c); });
        table.values.push_back(seconds / static_cast<double>(r * c));
      }
    }
  }

  void prepare_rows(Index rows, Index cols) {
    vectors_ = Buffer<float>(4 * std::max(rows, cols));
    for (Index i = 0; i < vectors_.size(); ++i) vectors_[i] = 1e-3f;
    ids_.resize(static_cast<std::size_t>(rows));
    for (Index i = 0; i < rows; ++i) {
      ids_[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i * 7919 % std::min(rows, cols));
    }
    loss_ = std::make_unique<kernels::VocabParallelCrossEntropy>(self_, cols);
    // What backward takes from forward.
    loss_->forward(rows, pool_.take(rows * cols), ids_.data());
  }

  void run_over_rows(std::string_view name, Index r, Index c) {
    float* const first = vectors_.data();
    float* const second = first + std::max(r, c);
    if (name == "layer_norm_forward") {
      const float* x = pool_.take(r * c);
      kernels::layer_norm_forward(r, c, x, first, second, 1e-5f, results_.take(r * c),
                                  second + std::max(r, c), second + 2 * std::max(r, c));
    } else if (name == "layer_norm_backward") {
      const float* x = pool_.take(r * c);
      const float* dy = results_.take(r * c);
      kernels::layer_norm_backward(r, c, x, first, second, second, dy, results_.take(r * c),
                                   second + std::max(r, c), nullptr);
    } else if (name == "add_bias") {
      kernels::add_bias(r, c, results_.take(r * c), first);
    } else if (name == "bias_gradient") {
      kernels::bias_gradient(r, c, pool_.take(r * c), first);
    } else if (name == "bias_gelu") {
      float* x = results_.take(r * c);
      kernels::bias_gelu_forward(r, c, x, nullptr, results_.take(r * c));
    } else if (name == "cross_entropy_forward") {
      kept_ = loss_->forward(r, pool_.take(r * c), ids_.data());
    } else if (name == "cross_entropy_backward") {
      loss_->backward(r, results_.take(r * c), ids_.data(), 1e-3);
    } else if (name == "embedding_forward") {
      const float* table = pool_.take(r * c);
      kernels::embedding_forward(r, c, ids_.data(), 0, r, table, results_.take(r * c));
    } else {  // embedding_backward
      const float* dout = pool_.take(r * c);
      kernels::embedding_backward(r, c, ids_.data(), 0, r, dout, results_.take(r * c));
    }
  }

  const Sampler& sampler_;
  const RateOptions& options_;
  Pool pool_, results_;
  Communicator self_;
  std::map<std::string, Table> tables_;
  Buffer<float> vectors_;
  std::vector<std::int32_t> ids_;
  std::unique_ptr<kernels::VocabParallelCrossEntropy> loss_;
  double kept_ = 0;
};

}  // namespace

std::map<std::string, Table> kernel_rates(const Sampler& sampler, const RateOptions& options,
                                          ConditionProbe& probe) {
  return Rates(sampler, options).all(probe);
}

}  // namespace shoal::bench
