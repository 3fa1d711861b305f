#include <shoal/models/export.hpp>

#include <algorithm>
#include <cstring>
#include <system_error>

#include <shoal/models/model_checkpoint.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/safetensors.hpp>

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

// to[col][row] = from[row][col], in tiles that stay in the cache.
template <class T>
void transpose(const T* from, Index rows, Index cols, T* to) {
  constexpr Index tile = 64;
  for (Index row0 = 0; row0 < rows; row0 += tile) {
    for (Index col0 = 0; col0 < cols; col0 += tile) {
      for (Index row = row0; row < std::min(row0 + tile, rows); ++row) {
        for (Index col = col0; col < std::min(col0 + tile, cols); ++col) {
          to[col * rows + row] = from[row * cols + col];
        }
      }
    }
  }
}

// The whole tensor as it goes into the file.
Buffer<std::byte> values(const Checkpoint& checkpoint, const ExportedTensor& tensor, DType type) {
  const auto bytes = static_cast<Index>(static_cast<Bytes>(tensor.shape.size()) * size_of(type));
  Buffer<std::byte> plain(bytes);
  if (tensor.source.empty()) return plain;
  const auto found = checkpoint.tensors().find(tensor.source);
  if (found == checkpoint.tensors().end() || found->second.shape.size() != tensor.shape.size()) {
    throw Error("export",
                checkpoint.path().string() + ": tensor " + tensor.source +
                    " is not of the size that the model's form asks for",
                "use another checkpoint");
  }
  std::vector<Block> all;
  for (int dim = 0; dim < found->second.shape.dims(); ++dim) {
    all.push_back({0, found->second.shape[dim]});
  }
  checkpoint.read(tensor.source, all, plain.data(), type);
  if (!tensor.transposed) return plain;
  Buffer<std::byte> turned(bytes);
  const Index cols = tensor.shape[0];
  const Index rows = tensor.shape[1];
  if (size_of(type) == 4) {
    transpose(reinterpret_cast<const std::uint32_t*>(plain.data()), rows, cols,
              reinterpret_cast<std::uint32_t*>(turned.data()));
  } else {
    transpose(reinterpret_cast<const std::uint16_t*>(plain.data()), rows, cols,
              reinterpret_cast<std::uint16_t*>(turned.data()));
  }
  return turned;
}

}  // namespace

std::vector<ExportedTensor> exported_tensors(const GptConfig& config) {
  const Index c = config.width;
  std::vector<ExportedTensor> tensors;
  const auto add = [&](const std::string& name, const Shape& shape, bool transposed = false) {
    tensors.push_back({name, shape, "transformer." + name, transposed});
  };
  const auto add_bias = [&](const std::string& name, Index size) {
    tensors.push_back({name, {size}, config.bias ? "transformer." + name : "", false});
  };
  add("wte.weight", {config.vocabulary, c});
  add("wpe.weight", {config.block_size, c});
  for (Index layer = 0; layer < config.layers; ++layer) {
    const std::string h = "h." + std::to_string(layer) + ".";
    add(h + "ln_1.weight", {c});
    add_bias(h + "ln_1.bias", c);
    add(h + "attn.c_attn.weight", {c, 3 * c}, true);
    add_bias(h + "attn.c_attn.bias", 3 * c);
    add(h + "attn.c_proj.weight", {c, c}, true);
    add_bias(h + "attn.c_proj.bias", c);
    add(h + "ln_2.weight", {c});
    add_bias(h + "ln_2.bias", c);
    add(h + "mlp.c_fc.weight", {c, 4 * c}, true);
    add_bias(h + "mlp.c_fc.bias", 4 * c);
    add(h + "mlp.c_proj.weight", {4 * c, c}, true);
    add_bias(h + "mlp.c_proj.bias", c);
  }
  add("ln_f.weight", {c});
  add_bias("ln_f.bias", c);
  return tensors;
}

Exported export_gpt2(const Checkpoint& checkpoint, const fs::path& file, DType type) {
  if (type != DType::f32 && type != DType::bf16 && type != DType::f16) {
    throw UsageError("export", "a file of " + std::string(name_of(type)) + " is not to be had",
                     "choose f32, bf16 or f16");
  }
  const std::vector<ExportedTensor> list = exported_tensors(config_of(checkpoint));
  std::vector<NamedTensor> header;
  Exported result{list.size(), 0};
  for (const ExportedTensor& tensor : list) {
    header.push_back({tensor.name, type, tensor.shape, nullptr});
    result.bytes += header.back().bytes();
  }
  const fs::path unfinished = file.string() + ".unfinished";
  std::error_code code;
  try {
    SafetensorsWriter writer(unfinished, header, {{"format", "pt"}});
    for (std::size_t i = 0; i < list.size(); ++i) {
      const Buffer<std::byte> data = values(checkpoint, list[i], type);
      writer.write(data.data(), header[i].bytes());
    }
    writer.finish();
    fs::rename(unfinished, file, code);
    if (code) {
      throw Error("export", file.string() + ": " + code.message(),
                  "choose another name for the file");
    }
  } catch (...) {
    fs::remove(unfinished, code);
    throw;
  }
  return result;
}

}  // namespace shoal::models
