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

/// Files from this size on are written past the page cache where the file system allows it: the
/// copy into the cache and the later cleaning of it would take time from those who compute.
inline constexpr Bytes large_file = Bytes{8} << 20;

/// A file for writing. Removing a file that is written in part is the caller's business.
class FileWriter {
 public:
  /// Whether the writer is to make the checksum of what it writes.
  enum class Checksum { wanted, known };
  /// What becomes of a file that is there already: it is emptied, or it is a spare one (spare.hpp),
  /// whose blocks are written over if it is large and nobody else sees it.
  enum class Existing { empty, spare };

  /// `expected`: the length, if it is known before; a large file then gets its space at once.
  explicit FileWriter(const std::filesystem::path& path, Bytes expected = 0,
                      Checksum checksum = Checksum::wanted, Existing existing = Existing::empty);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  /// Fastest for much at a time, from memory aligned to 4096 bytes, at such an offset of the file.
  void write(const void* data, Bytes bytes);
  /// Returns once the disk has everything; the checksum is 0 if it was not wanted.
  FileDigest finish();

 private:
  struct State;
  void put(const char* data, Bytes bytes);
  void flush_stage();
  void leave_direct_mode();
  void cut_to_length();
  std::filesystem::path path_;
  std::unique_ptr<State> state_;
};

/// Syncs the entries of a directory: a renamed or new file is only then there after a power cut.
void sync_directory(const std::filesystem::path& path);

/// Length and XXH64 of a file. Throws Error.
FileDigest digest_file(const std::filesystem::path& path);

/// All of a file that is at most `limit` bytes long. Throws Error.
std::string read_file(const std::filesystem::path& path, Bytes limit);

}  // namespace shoal
