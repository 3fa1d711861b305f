// A trained model for other programs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <shoal/models/gpt.hpp>
#include <shoal/runtime/checkpoint.hpp>

namespace shoal::models {

/// A tensor of GPT-2 as other programs know it, and where it comes from.
struct ExportedTensor {
  std::string name;  ///< as in Hugging Face's file of gpt2: "h.0.attn.c_attn.weight"
  Shape shape;
  std::string source;       ///< name in our checkpoint; empty: zeros (a bias, in a model without)
  bool transposed = false;  ///< their Conv1D keeps [inputs, outputs], we [outputs, inputs]
};

/// All tensors of a model of this form, in the order of the file. The heads' extents of ours are
/// joined: [3, heads, head, width] becomes [width, 3·width].
std::vector<ExportedTensor> exported_tensors(const GptConfig& config);

/// What export_gpt2 has written.
struct Exported {
  std::size_t tensors = 0;
  Bytes bytes = 0;
};

/// Writes the weights of a checkpoint as one safetensors file with GPT-2's usual names and layout,
/// in f32, bf16 or f16; metadata {"format": "pt"}. Holds one tensor at a time in memory. The file
/// appears under its name when it is whole. Throws UsageError if the checkpoint is not of a GPT or
/// the type is none of these, Error if it cannot be read or written. Not collective.
Exported export_gpt2(const Checkpoint& checkpoint, const std::filesystem::path& file, DType type);

}  // namespace shoal::models
