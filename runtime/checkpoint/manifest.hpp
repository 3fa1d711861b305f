// What manifest.json of a checkpoint says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/safetensors.hpp>

namespace shoal {

/// A block of a tensor, and where it lies: which tensor of which file.
struct StoredBlock {
  std::string tensor;
  DType dtype = DType::f32;
  Shape global;
  std::vector<Block> block;
  std::string key;
};

/// A file of a checkpoint.
struct StoredFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::uint64_t xxh64 = 0;
  std::vector<StoredBlock> blocks;

  void set(const FileDigest& digest) {
    bytes = digest.bytes;
    xxh64 = digest.xxh64;
  }
  /// As one line of JSON, to travel to rank 0; throws Error if the text is not that.
  std::string text() const;
  static StoredFile parse(const std::string& text);
};

struct Manifest {
  std::int64_t step = 0;
  std::string mesh;
  Metadata metadata;
  std::vector<StoredFile> files;

  std::string text() const;
  /// Throws Error that names `path` if the text is no sound manifest.
  static Manifest parse(const std::string& text, const std::filesystem::path& path);

  /// Throws Error unless, for each tensor, type and shape are the same in all blocks and the blocks
  /// cover it exactly once. `operation` is for the message.
  void check_cover(const std::string& operation) const;
};

/// ROOT/step-00000500.
std::filesystem::path folder_of(const std::filesystem::path& root, std::int64_t step);
/// The step of a folder's name, or -1.
std::int64_t step_of(const std::filesystem::path& folder);
/// The manifest of a checkpoint's folder. Throws Error if it is not there or not sound.
Manifest read_manifest(const std::filesystem::path& folder);
/// The same, and a look at the files. Throws Error also if one is not there, or has not the size
/// that the manifest says.
Manifest load_manifest(const std::filesystem::path& folder);

inline constexpr const char* manifest_name = "manifest.json";

}  // namespace shoal
