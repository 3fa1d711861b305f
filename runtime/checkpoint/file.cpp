#include "checkpoint/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "checkpoint/file_hash.hpp"
#include "checkpoint/spare.hpp"

namespace shoal {
namespace {

constexpr Bytes plain_piece = Bytes{1} << 20;
// Large ones cost the least processor time, but an error shows only after one of them.
constexpr Bytes direct_piece = Bytes{64} << 20;
constexpr Bytes stage_bytes = Bytes{4} << 20;
// From this size on what is aligned goes out as it is.
constexpr Bytes worth_direct = Bytes{1} << 20;
constexpr Bytes direct_alignment = 4096;  // of memory, offsets and lengths with O_DIRECT

std::string_view cure_for(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT:
      return "free some space there, or use a folder on another disk";
    case EFBIG:
      return "raise the limit on file sizes (ulimit -f), or use a folder on another file system";
    case EACCES:
    case EPERM:
      return "give this user the right to it, or use another folder";
    case EROFS:
      return "the file system is read-only: use another folder";
    case ENOENT:
      return "see whether it is there on every host";
    case EIO:
      return "the disk reports a fault: use another one";
    default:
      return "see whether the file system is sound, or use another folder";
  }
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const char* operation, const std::filesystem::path& path, int flags)
      : number_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (number_ < 0) throw file_error(operation, path, errno);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }
  int number() const { return number_; }
  /// 0 or errno.
  int close() {
    const int number = std::exchange(number_, -1);
    return number < 0 || ::close(number) == 0 ? 0 : errno;
  }

 private:
  int number_;
};

// Calls `take(data, bytes)` for all of the file, piece by piece.
template <class Take>
void read_all(const char* operation, const std::filesystem::path& path, Take&& take) {
  const Descriptor file(operation, path, O_RDONLY);
  std::vector<char> piece(std::size_t{1} << 20);
  for (;;) {
    const ssize_t got = ::read(file.number(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw file_error(operation, path, errno);
    if (got == 0) return;
    take(piece.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace

Error file_error(std::string_view operation, const std::filesystem::path& path, int code) {
  return Error(operation, path.string() + ": " + std::strerror(code), cure_for(code));
}

struct FileWriter::State {
  bool direct = false;  // past the page cache
  Descriptor file;
  Bytes piece;
  std::unique_ptr<char, void (*)(void*)> stage{nullptr,
                                               std::free};  // what is not yet worth a write
  Bytes staged = 0;
  Bytes bytes = 0;
  std::optional<FileHash> hash;

  State(const std::filesystem::path& path, bool large, Checksum checksum, Existing existing)
      : file(open(path, large, existing, direct)), piece(direct ? direct_piece : plain_piece) {
    if (checksum == Checksum::wanted) hash.emplace();
    if (direct) stage.reset(static_cast<char*>(std::aligned_alloc(direct_alignment, stage_bytes)));
    direct = stage != nullptr;
  }

  static Descriptor open(const std::filesystem::path& path, bool large, Existing existing,
                         bool& direct) {
    direct = false;
    if (existing == Existing::spare) {
      const int number = large ? open_spare_file(path, O_DIRECT | O_CLOEXEC) : -1;
      direct = number >= 0;
      if (direct) return Descriptor(number);
      // Others keep what they see of it.
      if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw file_error("write", path, errno);
    }
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    const int number = large ? ::open(path.c_str(), flags | O_DIRECT | O_CLOEXEC, 0666) : -1;
    direct = number >= 0;
    return direct ? Descriptor(number) : Descriptor("write", path, flags);
  }
};

FileWriter::FileWriter(const std::filesystem::path& path, Bytes expected, Checksum checksum,
                       Existing existing)
    : path_(path), state_(std::make_unique<State>(path, expected >= large_file, checksum, existing)) {
  if (expected < large_file) return;
  // A full disk shows now, not after a minute of writing. Some file systems cannot.
  if (::fallocate(state_->file.number(), 0, 0, static_cast<off_t>(expected)) != 0 &&
      (errno == ENOSPC || errno == EDQUOT || errno == EFBIG || errno == EIO)) {
    throw file_error("write", path_, errno);
  }
}

FileWriter::~FileWriter() = default;

void FileWriter::put(const char* data, Bytes bytes) {
  while (bytes > 0) {
    const ssize_t taken = ::write(state_->file.number(), data, bytes);
    if (taken < 0 && errno == EINTR) continue;
    if (taken < 0 && errno == EINVAL && state_->direct) {
      leave_direct_mode();
      continue;
    }
    if (taken <= 0) throw file_error("write", path_, taken < 0 ? errno : ENOSPC);
    data += taken;
    bytes -= static_cast<Bytes>(taken);
  }
}

void FileWriter::leave_direct_mode() {
  const int flags = ::fcntl(state_->file.number(), F_GETFL);
  if (flags < 0 || ::fcntl(state_->file.number(), F_SETFL, flags & ~O_DIRECT) != 0) {
    throw file_error("write", path_, errno);
  }
  state_->direct = false;
}

// What was written over may have been longer.
void FileWriter::cut_to_length() {
  struct stat info {};
  const auto length = static_cast<off_t>(state_->bytes);
  if (::fstat(state_->file.number(), &info) != 0 ||
      (info.st_size > length && ::ftruncate(state_->file.number(), length) != 0)) {
    throw file_error("write", path_, errno);
  }
}

void FileWriter::flush_stage() {
  put(state_->stage.get(), state_->staged);
  state_->staged = 0;
}

void FileWriter::write(const void* data, Bytes bytes) {
  State& state = *state_;
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    Bytes count = std::min(bytes, state.piece);
    const bool aligned = reinterpret_cast<std::uintptr_t>(next) % direct_alignment == 0;
    if (!state.stage) {
      put(next, count);
    } else if (aligned && state.staged % direct_alignment == 0 && count >= worth_direct) {
      if (state.staged > 0) flush_stage();
      count -= count % direct_alignment;
      put(next, count);
    } else {
      count = std::min(count, stage_bytes - state.staged);
      std::memcpy(state.stage.get() + state.staged, next, count);
      state.staged += count;
      if (state.staged == stage_bytes) flush_stage();
    }
    if (state.hash) state.hash->update(next, count);
    next += count;
    bytes -= count;
    state.bytes += count;
  }
}

FileDigest FileWriter::finish() {
  State& state = *state_;
  if (state.staged > 0) {
    // The last piece need not be a multiple of the disk's blocks.
    if (state.direct && state.staged % direct_alignment != 0) leave_direct_mode();
    flush_stage();
  }
  cut_to_length();
  if (::fsync(state.file.number()) != 0) throw file_error("write", path_, errno);
  // Network file systems may report a full disk only here.
  if (const int code = state.file.close(); code != 0) throw file_error("write", path_, code);
  return {state.bytes, state.hash ? state.hash->digest() : 0};
}

void sync_directory(const std::filesystem::path& path) {
  const Descriptor directory("write", path, O_RDONLY | O_DIRECTORY);
  // Some network file systems do not sync directories, and say EINVAL.
  if (::fsync(directory.number()) != 0 && errno != EINVAL) throw file_error("write", path, errno);
}

FileDigest digest_file(const std::filesystem::path& path) {
  FileHash hash;
  FileDigest digest;
  read_all("read", path, [&](const char* data, std::size_t bytes) {
    hash.update(data, bytes);
    digest.bytes += bytes;
  });
  digest.xxh64 = hash.digest();
  return digest;
}

std::string read_file(const std::filesystem::path& path, Bytes limit) {
  std::string text;
  read_all("read", path, [&](const char* data, std::size_t bytes) {
    if (text.size() + bytes > limit) {
      throw Error("read", path.string() + ": longer than " + std::to_string(limit) + " bytes",
                  "this is not a file that Shoal wrote");
    }
    text.append(data, bytes);
  });
  return text;
}

}  // namespace shoal
