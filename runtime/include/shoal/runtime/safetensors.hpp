// Files of named tensors in the safetensors format.
//
// Source: the format of https://huggingface.co/docs/safetensors: eight bytes with the length of the
// header (little endian), the header as JSON ({"name": {"dtype", "shape", "data_offsets"}}), then the
// tensors, dense and row-major, without gaps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/view.hpp>

namespace shoal {

/// A tensor of a safetensors file: dense, row-major.
struct NamedTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  const void* data = nullptr;

  Bytes bytes() const { return static_cast<Bytes>(shape.size()) * size_of(dtype); }
};

/// What write_safetensors wrote.
struct FileDigest {
  std::uint64_t bytes = 0;
  std::uint64_t xxh64 = 0;  ///< XXH64 with seed 0 of the whole file
};

/// Writes the tensors, in order, to a new file, and syncs it to the disk. Throws Error with the
/// system's reason (disk full, no permission, ...); the file may then be there in part. Throws Error
/// for a name that comes twice.
FileDigest write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                             const std::map<std::string, std::string>& metadata = {});

/// Writes a safetensors file bit by bit, for tensors that should not all be in memory at once.
class SafetensorsWriter {
 public:
  /// Writes the header; the tensors' data pointers are not looked at. Throws Error as
  /// write_safetensors does.
  SafetensorsWriter(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                    const std::map<std::string, std::string>& metadata = {});
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  ~SafetensorsWriter();

  /// The next bytes of the tensors, in their order.
  void write(const void* data, Bytes bytes);
  /// Syncs the file to the disk. Throws Error unless all bytes of all tensors have been written.
  FileDigest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A safetensors file, mapped into memory: nothing is read before it is looked at.
class SafetensorsFile {
 public:
  /// Maps the file and checks all of its header: lengths, offsets, sizes, types, names. Throws Error
  /// that names the file and what is wrong with it.
  explicit SafetensorsFile(const std::filesystem::path& path);
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;
  ~SafetensorsFile();

  /// In the order of their data. The pointers live as long as this object; they are aligned to the
  /// element only if the writer took care of it (write_safetensors does to 8 bytes at the start).
  const std::vector<NamedTensor>& tensors() const noexcept { return tensors_; }
  /// Null if there is none of that name.
  const NamedTensor* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }

 private:
  class Mapping;
  std::unique_ptr<Mapping> mapping_;
  std::vector<NamedTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace shoal
