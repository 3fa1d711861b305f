#include "checkpoint_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace shoal {
namespace {

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
  Descriptor(const char* operation, const std::filesystem::path& path, int flags)
      : number_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (number_ < 0) throw file_error(operation, path, errno);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(number_); }
  int number() const { return number_; }

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

struct FileWriter::Hash {
  XXH64_state_t* state = XXH64_createState();
  Hash() { XXH64_reset(state, 0); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  ~Hash() { XXH64_freeState(state); }
};

FileWriter::FileWriter(const std::filesystem::path& path)
    : path_(path),
      descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)),
      hash_(std::make_unique<Hash>()) {
  if (descriptor_ < 0) throw file_error("write", path_, errno);
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileWriter::write(const void* data, Bytes bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    // The kernel takes at most 2 GiB at a time. A piece that stays in the cache is also hashed there.
    const Bytes piece = std::min(bytes, Bytes{1} << 20);
    const ssize_t taken = ::write(descriptor_, next, piece);
    if (taken < 0 && errno == EINTR) continue;
    if (taken <= 0) throw file_error("write", path_, taken < 0 ? errno : ENOSPC);
    const auto count = static_cast<Bytes>(taken);
    XXH64_update(hash_->state, next, count);
    next += count;
    bytes -= count;
    bytes_ += count;
  }
}

FileDigest FileWriter::finish() {
  if (::fsync(descriptor_) != 0) throw file_error("write", path_, errno);
  // Network file systems may report a full disk only here.
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) throw file_error("write", path_, errno);
  return {bytes_, XXH64_digest(hash_->state)};
}

void sync_directory(const std::filesystem::path& path) {
  const Descriptor directory("write", path, O_RDONLY | O_DIRECTORY);
  // Some network file systems do not sync directories, and say EINVAL.
  if (::fsync(directory.number()) != 0 && errno != EINVAL) throw file_error("write", path, errno);
}

FileDigest digest_file(const std::filesystem::path& path) {
  const std::unique_ptr<XXH64_state_t, XXH_errorcode (*)(XXH64_state_t*)> state(XXH64_createState(),
                                                                               XXH64_freeState);
  XXH64_reset(state.get(), 0);
  FileDigest digest;
  read_all("read", path, [&](const char* data, std::size_t bytes) {
    XXH64_update(state.get(), data, bytes);
    digest.bytes += bytes;
  });
  digest.xxh64 = XXH64_digest(state.get());
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
