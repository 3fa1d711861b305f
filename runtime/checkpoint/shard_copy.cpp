#include "checkpoint/shard_copy.hpp"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "checkpoint/file.hpp"
#include "checkpoint/file_hash.hpp"
#include "safetensors_header.hpp"

namespace shoal {
namespace {

// In the cache of the core when it is read for the second time.
constexpr Bytes piece_bytes = Bytes{128} << 10;

struct Piece {
  std::byte* to;
  const std::byte* from;
  Bytes bytes;
};

std::vector<Piece> cut(std::span<const NamedTensor> tensors, std::byte* to) {
  std::vector<Piece> pieces;
  for (const NamedTensor& tensor : tensors) {
    const auto* from = static_cast<const std::byte*>(tensor.data);
    for (Bytes left = tensor.bytes(); left > 0;) {
      const Bytes bytes = std::min(piece_bytes, left);
      pieces.push_back({to, from, bytes});
      to += bytes;
      from += bytes;
      left -= bytes;
    }
  }
  return pieces;
}

// A checksum goes from the front to the back, so one thread makes it, and copies on its way what
// the others, who come from the back, have not: one pass over memory, where copying first takes
// two.
void copy_and_hash(const std::vector<Piece>& pieces, FileHash& hash) {
  std::vector<std::atomic<bool>> taken(pieces.size());
  std::atomic<std::size_t> left{pieces.size()};
  const auto copy = [&](std::size_t i) {
    if (taken[i].exchange(true, std::memory_order_relaxed)) return false;
    std::memcpy(pieces[i].to, pieces[i].from, pieces[i].bytes);
    return true;
  };
#pragma omp parallel
  if (omp_get_thread_num() == 0) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      hash.update(pieces[i].from, pieces[i].bytes);
      copy(i);
    }
  } else {
    // Where the two ways meet, all is copied.
    for (std::size_t i = left--; i > 0 && i <= pieces.size() && copy(i - 1); i = left--) {
    }
  }
}

}  // namespace

void ShardCopy::reserve(Bytes bytes) {
  if (bytes <= data_.bytes()) return;
  data_ = Storage();
  data_ = Storage(bytes, Memory::local);
  // Pages that are written for the first time now need not be made while training waits.
  constexpr Bytes page = 4096;
  const auto pages = static_cast<std::int64_t>(bytes / page);
  std::byte* data = data_.data();
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < pages; ++i) data[i * static_cast<std::int64_t>(page)] = std::byte{0};
}

FileDigest ShardCopy::take(std::span<const NamedTensor> tensors) {
  bytes_ = 0;
  for (const NamedTensor& tensor : tensors) bytes_ += tensor.bytes();
  reserve(bytes_);
  header_ = safetensors_header(tensors);
  FileHash hash;
  hash.update(header_.data(), header_.size());
  copy_and_hash(cut(tensors, data_.data()), hash);
  return {header_.size() + bytes_, hash.digest()};
}

void ShardCopy::write(const std::filesystem::path& path) const {
  FileWriter file(path, header_.size() + bytes_, FileWriter::Checksum::known,
                  FileWriter::Existing::spare);
  file.write(header_.data(), header_.size());
  file.write(data_.data(), bytes_);
  file.finish();
}

}  // namespace shoal
