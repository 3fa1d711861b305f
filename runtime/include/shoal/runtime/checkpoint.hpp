// Checkpoints: sharded tensors on disk, written by many ranks, read on any mesh.
//
//     ROOT/step-00000500/manifest.json          which file holds which block of which tensor
//     ROOT/step-00000500/shard-00003.safetensors  the blocks that rank 3 wrote
//
// A checkpoint appears under its name only when all of it is on the disk. ROOT must be on a file
// system that all hosts share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/view.hpp>

namespace shoal {

/// Whatever else belongs to a checkpoint: configuration, step of the random stream, best loss.
using MetadataValue = std::variant<std::string, std::int64_t, double>;
using Metadata = std::map<std::string, MetadataValue>;

/// This rank's part of a tensor.
struct TensorSlice {
  std::string name;
  DType dtype = DType::f32;
  Shape global;              ///< shape of the whole tensor
  std::vector<Block> block;  ///< this rank's range in each dimension
  const void* data = nullptr;  ///< the block, dense and row-major
  bool owner = true;  ///< of the ranks that have the same block, one owns it and writes it
};

/// How save_checkpoint writes.
struct SaveOptions {
  int keep_last = 2;  ///< complete checkpoints that stay; at least 1
  std::string mesh;   ///< layout at the time of writing, for people: "dp=2,tp=4"
};

/// Writes ROOT/step-NNNNNNNN. Collective: each rank passes its slices; those it owns must, over all
/// ranks, cover every tensor exactly once. `metadata` counts on rank 0. Written to a hidden folder,
/// synced, then renamed; older checkpoints beyond `keep_last` go only after that. If any rank fails
/// (disk full, no permission, ...), all throw the same Error, the hidden folder is removed and the
/// previous checkpoint stays.
void save_checkpoint(const Communicator& world, const std::filesystem::path& root, std::int64_t step,
                     std::span<const TensorSlice> slices, const Metadata& metadata,
                     const SaveOptions& options = {});

/// Steps under `root` with a readable manifest and all files in their right sizes, ascending. Empty if
/// the folder is not there. Not collective.
std::vector<std::int64_t> complete_checkpoints(const std::filesystem::path& root);

/// The folders that `path` may mean, the newest first: itself if it is that of one checkpoint, or
/// those in it. Throws UsageError if there are none. Not collective.
std::vector<std::filesystem::path> checkpoint_folders(const std::filesystem::path& path);

/// Everything that is wrong with the checkpoint in this folder, one sentence each; nothing if it is
/// as it was written. Reads all of it: manifest, checksums, headers, that every element of every
/// tensor is there once, and that no other file is. Not collective.
std::vector<std::string> verify_checkpoint(const std::filesystem::path& folder);

/// A checkpoint on disk.
class Checkpoint {
 public:
  /// Type and shape of a whole tensor.
  struct TensorInfo {
    DType dtype = DType::f32;
    Shape shape;
  };
  /// A file of the checkpoint, as the manifest has it.
  struct FileInfo {
    std::string name;
    std::uint64_t bytes = 0;
    std::uint64_t xxh64 = 0;
    std::size_t blocks = 0;  ///< of tensors
  };
  struct OpenOptions {
    bool verify = true;  ///< read every file once, the ranks sharing the work, and compare checksums
  };

  /// Collective. `path`: the folder of one checkpoint, or their root: then the newest that is sound,
  /// with a warning for each newer one that is not. Throws UsageError, the same on all ranks, if there
  /// is none or the one asked for is damaged.
  static Checkpoint open(const Communicator& world, const std::filesystem::path& path,
                         const OpenOptions& options);
  static Checkpoint open(const Communicator& world, const std::filesystem::path& path);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  const std::filesystem::path& path() const noexcept;
  std::int64_t step() const noexcept;
  /// The layout it was written on.
  const std::string& mesh() const noexcept;
  const Metadata& metadata() const noexcept;
  /// Metadata by name. Throw UsageError if it is not there or of another type; `number` takes both
  /// integers and floating-point numbers.
  const std::string& text(const std::string& key) const;
  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;

  const std::map<std::string, TensorInfo>& tensors() const noexcept;
  bool contains(const std::string& name) const;
  /// In the order of the ranks that wrote them.
  std::vector<FileInfo> files() const;

  /// Copies the block of a tensor to `to`, dense and row-major, from whatever files hold it. If `type`
  /// is not the stored one both must be floating point, and elements are converted, rounding to
  /// nearest even. Not collective: every rank reads what it needs. Throws UsageError if there is no
  /// such tensor, Error if the block is out of its range or a file cannot be read.
  void read(const std::string& name, std::span<const Block> block, void* to, DType type) const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal
