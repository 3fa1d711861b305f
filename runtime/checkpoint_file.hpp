// Files that are on the disk when we say so, and errors that say why not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/safetensors.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// "FILE: No space left on device", with the cure for this errno.
Error file_error(std::string_view operation, const std::filesystem::path& path, int code);

/// A new file for writing. Removing a file that is written in part is the caller's business.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  void write(const void* data, Bytes bytes);
  /// Returns once the disk has everything.
  FileDigest finish();

 private:
  struct Hash;
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t bytes_ = 0;
  std::unique_ptr<Hash> hash_;
};

/// Syncs the entries of a directory: a renamed or new file is only then there after a power cut.
void sync_directory(const std::filesystem::path& path);

/// Length and XXH64 of a file. Throws Error.
FileDigest digest_file(const std::filesystem::path& path);

/// All of a file that is at most `limit` bytes long. Throws Error.
std::string read_file(const std::filesystem::path& path, Bytes limit);

}  // namespace shoal
