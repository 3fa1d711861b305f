#include "gpt_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>

#include <shoal/kernels/local/random.hpp>

namespace shoal::models {
namespace {

// Collects parameters in the order of the model and gives out offsets in the order of the groups.
class Collector {
 public:
  Collector(int tp_size, int tp_rank) : tp_size_(tp_size), tp_rank_(tp_rank) {}

  /// Whether the parameters that follow are of this stage: the others are only counted.
  void here(bool yes) { here_ = yes; }
  /// A parameter that is divided along `sharded_dim`, or whole if that is −1.
  void add(Index* offset, std::string name, Shape global, int sharded_dim, bool decay) {
    const Index number = next_++;
    if (!here_) return;
    Parameter parameter;
    parameter.number = number;
    parameter.name = std::move(name);
    parameter.global = global;
    parameter.sharded = sharded_dim >= 0;
    parameter.decay = decay;
    parameter.size = 1;
    Index room = 1;
    for (int dim = 0; dim < global.dims(); ++dim) {
      room *= dim == sharded_dim ? block_of(global[dim], tp_size_, 0).size : global[dim];
      parameter.block.push_back(dim == sharded_dim ? block_of(global[dim], tp_size_, tp_rank_)
                                                   : Block{0, global[dim]});
      parameter.size *= parameter.block.back().size;
    }
    entries_.push_back({std::move(parameter), offset, room});
  }

  void finish(ParameterLayout& layout) {
    for (const bool decay : {true, false}) {
      for (const bool sharded : {true, false}) {
        ParameterGroup group{layout.size, 0, sharded, decay};
        for (Entry& entry : entries_) {
          if (entry.parameter.decay != decay || entry.parameter.sharded != sharded) continue;
          entry.parameter.offset = layout.size;
          *entry.offset = layout.size;
          // 16 floats are 64 bytes: every parameter starts on a cache line. All tp ranks make room
          // for the largest block, so that what they have in common lies at the same place, and its
          // sums over dp are made in the same order. The gaps stay zero.
          const Index end = layout.size + entry.parameter.size;
          layout.size += (entry.room + 15) / 16 * 16;
          if (end < layout.size) layout.gaps.push_back({end, layout.size - end});
        }
        group.size = layout.size - group.begin;
        if (group.size > 0) layout.groups.push_back(group);
      }
    }
    for (Entry& entry : entries_) layout.list.push_back(std::move(entry.parameter));
  }

 private:
  struct Entry {
    Parameter parameter;
    Index* offset;
    Index room;  // elements of the largest block of any tp rank
  };
  int tp_size_;
  int tp_rank_;
  bool here_ = true;
  Index next_ = 0;  // number of the next parameter in the whole model
  std::vector<Entry> entries_;
};

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Calls visit(global index of the first element, local index, length) for each run of elements of
// the block that is contiguous in the whole tensor.
void for_each_run(const Parameter& parameter,
                  const std::function<void(std::uint64_t, Index, Index)>& visit) {
  const int dims = parameter.global.dims();
  const Shape strides = row_major_strides(parameter.global);
  const Index run = parameter.block[static_cast<std::size_t>(dims - 1)].size;
  const Index runs = run == 0 ? 0 : parameter.size / run;
  for (Index r = 0; r < runs; ++r) {
    Index rest = r;
    Index global = parameter.block[static_cast<std::size_t>(dims - 1)].begin;
    for (int dim = dims - 2; dim >= 0; --dim) {
      const Block& block = parameter.block[static_cast<std::size_t>(dim)];
      global += (block.begin + rest % block.size) * strides[dim];
      rest /= block.size;
    }
    visit(static_cast<std::uint64_t>(global), r * run, run);
  }
}

}  // namespace

ParameterLayout lay_out_parameters(const GptConfig& config, const Stage& stage, int tp_size,
                                   int tp_rank) {
  const Index c = config.width;
  const Index head_dim = c / config.heads;
  ParameterLayout layout;
  layout.blocks.assign(static_cast<std::size_t>(stage.layers.size),
                       {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1});
  Collector collect(tp_size, tp_rank);
  constexpr int whole = -1;

  collect.here(stage.last());
  collect.add(&layout.token_embedding, "transformer.wte.weight", {config.vocabulary, c}, 0, true);
  collect.here(stage.first());
  collect.add(&layout.position_embedding, "transformer.wpe.weight", {config.block_size, c}, whole,
              true);
  for (Index layer = 0; layer < config.layers; ++layer) {
    const Index own = layer - stage.layers.begin;
    const bool here = own >= 0 && own < stage.layers.size;
    BlockOffsets elsewhere{};
    collect.here(here);
    BlockOffsets& at = here ? layout.blocks[static_cast<std::size_t>(own)] : elsewhere;
    const std::string prefix = "transformer.h." + std::to_string(layer) + ".";
    collect.add(&at.ln1_gain, prefix + "ln_1.weight", {c}, whole, false);
    collect.add(&at.qkv_weight, prefix + "attn.c_attn.weight", {3, config.heads, head_dim, c}, 1,
                true);
    collect.add(&at.proj_weight, prefix + "attn.c_proj.weight", {c, config.heads, head_dim}, 1,
                true);
    collect.add(&at.ln2_gain, prefix + "ln_2.weight", {c}, whole, false);
    collect.add(&at.fc_weight, prefix + "mlp.c_fc.weight", {4 * c, c}, 0, true);
    collect.add(&at.fc_proj_weight, prefix + "mlp.c_proj.weight", {c, 4 * c}, 1, true);
    if (config.bias) {
      collect.add(&at.ln1_bias, prefix + "ln_1.bias", {c}, whole, false);
      collect.add(&at.qkv_bias, prefix + "attn.c_attn.bias", {3, config.heads, head_dim}, 1, false);
      collect.add(&at.proj_bias, prefix + "attn.c_proj.bias", {c}, whole, false);
      collect.add(&at.ln2_bias, prefix + "ln_2.bias", {c}, whole, false);
      collect.add(&at.fc_bias, prefix + "mlp.c_fc.bias", {4 * c}, 0, false);
      collect.add(&at.fc_proj_bias, prefix + "mlp.c_proj.bias", {c}, whole, false);
    }
  }
  collect.here(stage.last());
  collect.add(&layout.final_gain, "transformer.ln_f.weight", {c}, whole, false);
  if (config.bias) collect.add(&layout.final_bias, "transformer.ln_f.bias", {c}, whole, false);
  collect.finish(layout);
  return layout;
}

std::vector<std::vector<Block>> backward_stages(const ParameterLayout& layout, bool head_first) {
  std::map<Index, Index> size_at;
  for (const Parameter& parameter : layout.list) size_at[parameter.offset] = parameter.size;
  std::vector<std::vector<Block>> stages;
  const auto add = [&](std::initializer_list<Index> offsets) {
    std::vector<Block>& stage = stages.emplace_back();
    for (const Index offset : offsets) {
      if (offset >= 0) stage.push_back({offset, size_at.at(offset)});
    }
  };
  constexpr Index none = -1;
  add({layout.final_gain, layout.final_bias, head_first ? layout.token_embedding : none});
  for (auto at = layout.blocks.rbegin(); at != layout.blocks.rend(); ++at) {
    add({at->fc_proj_weight, at->fc_proj_bias, at->fc_weight, at->fc_bias});
    add({at->ln2_gain, at->ln2_bias, at->proj_weight, at->proj_bias, at->qkv_weight, at->qkv_bias,
         at->ln1_gain, at->ln1_bias});
  }
  add({layout.position_embedding, head_first ? none : layout.token_embedding});
  return stages;
}

void initialise(const GptConfig& config, const ParameterLayout& layout, std::uint64_t seed,
                std::span<float> parameters) {
  // Sites of the random stream from this one on belong to initial weights.
  constexpr std::uint32_t first_site = 1u << 30;
  // The residual stream sums two branches a layer: their last weights are scaled so that its
  // variance does not grow with depth (Radford et al. 2019).
  const float weight_deviation =
      config.init_std > 0 ? config.init_std : initial_deviation(config.width);
  const float residual_deviation =
      weight_deviation / std::sqrt(2.0f * static_cast<float>(config.layers));
  for (const Parameter& parameter : layout.list) {
    float* data = parameters.data() + parameter.offset;
    if (!parameter.decay) {
      const bool gain = ends_with(parameter.name, ".weight");
      std::fill_n(data, parameter.size, gain ? 1.0f : 0.0f);
      continue;
    }
    const float deviation =
        ends_with(parameter.name, "c_proj.weight") ? residual_deviation : weight_deviation;
    const kernels::RandomKey key{seed, 0,
                                 first_site + static_cast<std::uint32_t>(parameter.number)};
    for_each_run(parameter, [&](std::uint64_t global, Index local, Index length) {
      kernels::normal(key, global, length, 0.0f, deviation, data + local);
    });
  }
}

}  // namespace shoal::models
