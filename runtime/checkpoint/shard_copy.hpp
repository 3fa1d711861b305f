// A rank's part of a checkpoint, in memory.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/safetensors.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// A copy of tensors as their file will have them, whose checksum is known once the copy is made:
/// what is left to do beside the computation is to hand it to the disk. Its memory stays for the
/// next copy.
class ShardCopy {
 public:
  /// Gets memory for tensors of that many bytes before it is needed. Throws Error if there is not
  /// enough.
  void reserve(Bytes bytes);
  Bytes reserved() const noexcept { return data_.bytes(); }

  /// Copies the tensors, with all threads of the team. Returns length and checksum of their file.
  FileDigest take(std::span<const NamedTensor> tensors);
  /// Writes the file, and syncs it to the disk. Throws Error as write_safetensors does.
  void write(const std::filesystem::path& path) const;

 private:
  std::string header_;
  Storage data_;
  Bytes bytes_ = 0;  // of data_, in use
};

}  // namespace shoal
