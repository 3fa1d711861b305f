#include <shoal/runtime/checkpoint.hpp>

#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/safetensors.hpp>

#include "checkpoint/agree.hpp"
#include "checkpoint/file.hpp"
#include "checkpoint/manifest.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;

constexpr const char* reading = "checkpoint";

void verify_file(const fs::path& path, const StoredFile& file) {
  const FileDigest digest = digest_file(path);
  if (digest.bytes != file.bytes || digest.xxh64 != file.xxh64) {
    throw Error(reading, path.string() + ": damaged: its checksum is not that of the manifest",
                "use another checkpoint");
  }
}

double element(DType type, const char* at) {
  const auto load = [at]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (type) {
    case DType::f32: return load(float{});
    case DType::f64: return load(double{});
    case DType::bf16: return to_float(load(bfloat16{}));
    default: return to_float(load(float16{}));
  }
}

void store(DType type, double value, char* at) {
  const auto put = [at](auto converted) { std::memcpy(at, &converted, sizeof converted); };
  switch (type) {
    case DType::f32: return put(static_cast<float>(value));
    case DType::f64: return put(value);
    case DType::bf16: return put(to_bfloat16(static_cast<float>(value)));
    default: return put(to_float16(static_cast<float>(value)));
  }
}

void copy_row(const char* from, DType from_type, char* to, DType to_type, Index count) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<Bytes>(count) * size_of(to_type));
    return;
  }
  for (Index i = 0; i < count; ++i) {
    store(to_type, element(from_type, from), to);
    from += size_of(from_type);
    to += size_of(to_type);
  }
}

// Copies what two blocks of one tensor have in common, both dense and row-major. Returns the number
// of elements.
Index copy_common(std::span<const Block> from_block, const char* from, DType from_type,
                  std::span<const Block> to_block, char* to, DType to_type) {
  const int dims = static_cast<int>(from_block.size());
  std::vector<Block> common(from_block.size());
  Index elements = 1;
  for (std::size_t dim = 0; dim < common.size(); ++dim) {
    const Index begin = std::max(from_block[dim].begin, to_block[dim].begin);
    const Index end = std::min(from_block[dim].end(), to_block[dim].end());
    if (end <= begin) return 0;
    common[dim] = {begin, end - begin};
    elements *= end - begin;
  }
  const std::function<void(int, Index, Index)> copy = [&](int dim, Index from_at, Index to_at) {
    if (dim == dims) {
      copy_row(from + from_at * static_cast<Index>(size_of(from_type)), from_type,
               to + to_at * static_cast<Index>(size_of(to_type)), to_type, 1);
      return;
    }
    const auto d = static_cast<std::size_t>(dim);
    from_at = from_at * from_block[d].size + common[d].begin - from_block[d].begin;
    to_at = to_at * to_block[d].size + common[d].begin - to_block[d].begin;
    if (dim == dims - 1) {
      copy_row(from + from_at * static_cast<Index>(size_of(from_type)), from_type,
               to + to_at * static_cast<Index>(size_of(to_type)), to_type, common[d].size);
      return;
    }
    for (Index i = 0; i < common[d].size; ++i) copy(dim + 1, from_at + i, to_at + i);
  };
  copy(0, 0, 0);
  return elements;
}

}  // namespace

struct Checkpoint::Impl {
  struct Location {
    std::size_t file;
    const StoredBlock* block;
  };

  fs::path folder;
  Manifest manifest;
  std::map<std::string, TensorInfo> tensors;
  std::map<std::string, std::vector<Location>> locations;
  // Mapped at the first read from each.
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  std::mutex mutex;

  Impl(fs::path path, Manifest loaded) : folder(std::move(path)), manifest(std::move(loaded)) {
    files.resize(manifest.files.size());
    for (std::size_t i = 0; i < manifest.files.size(); ++i) {
      for (const StoredBlock& stored : manifest.files[i].blocks) {
        tensors[stored.tensor] = {stored.dtype, stored.global};
        locations[stored.tensor].push_back({i, &stored});
      }
    }
  }

  const SafetensorsFile& file(std::size_t index) {
    const std::lock_guard lock(mutex);
    if (!files[index]) {
      files[index] = std::make_unique<SafetensorsFile>(folder / manifest.files[index].name);
    }
    return *files[index];
  }

  const NamedTensor& stored(const Location& location) {
    const NamedTensor* found = file(location.file).find(location.block->key);
    bool fits = found && found->dtype == location.block->dtype &&
                found->shape.dims() == location.block->global.dims();
    for (int dim = 0; fits && dim < found->shape.dims(); ++dim) {
      fits = found->shape[dim] == location.block->block[static_cast<std::size_t>(dim)].size;
    }
    if (!fits) {
      throw Error(reading,
                  (folder / manifest.files[location.file].name).string() + ": tensor " +
                      location.block->key + " is not what the manifest says",
                  "use another checkpoint");
    }
    return *found;
  }

  const MetadataValue& value(const std::string& key) const {
    const auto found = manifest.metadata.find(key);
    if (found == manifest.metadata.end()) {
      throw UsageError(reading, folder.string() + ": has no entry \"" + key + "\"",
                       "it was written by another program or version");
    }
    return found->second;
  }

  template <class T>
  const T& value_as(const std::string& key, const char* type) const {
    if (const T* value_found = std::get_if<T>(&value(key))) return *value_found;
    throw UsageError(reading, folder.string() + ": entry \"" + key + "\" is no " + type,
                     "it was written by another program or version");
  }
};

std::vector<std::int64_t> complete_checkpoints(const fs::path& root) {
  std::vector<std::int64_t> steps;
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(root, code)) {
    if (step_of(entry.path()) < 0) continue;
    try {
      load_manifest(entry.path());
      steps.push_back(step_of(entry.path()));
    } catch (const std::exception&) {
      // Not complete, so not listed: opening it by name says why.
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Checkpoint Checkpoint::open(const Communicator& world, const fs::path& path) {
  return open(world, path, OpenOptions{});
}

Checkpoint Checkpoint::open(const Communicator& world, const fs::path& path,
                            const OpenOptions& options) {
  std::vector<fs::path> folders;
  std::string list;
  together(world, [&] {
    if (world.rank() != 0) return;
    for (const fs::path& folder : checkpoint_folders(path)) list += folder.string() + '\0';
  });
  list = broadcast_text(world, list);
  for (std::size_t at = 0; at < list.size();) {
    folders.emplace_back(list.c_str() + at);
    at += folders.back().string().size() + 1;
  }

  for (std::size_t i = 0; i < folders.size(); ++i) {
    const fs::path& folder = folders[i];
    try {
      // Rank 0 reads the manifest for all, so that all see the same one.
      Manifest manifest;
      std::string text;
      together(world, [&] {
        if (world.rank() != 0) return;
        manifest = load_manifest(folder);
        text = manifest.text();
      });
      text = broadcast_text(world, text);
      together(world, [&] {
        manifest = Manifest::parse(text, folder / manifest_name);
        if (!options.verify) return;
        for (auto file = static_cast<std::size_t>(world.rank()); file < manifest.files.size();
             file += static_cast<std::size_t>(world.size())) {
          verify_file(folder / manifest.files[file].name, manifest.files[file]);
        }
      });
      return Checkpoint(std::make_unique<Impl>(folder, std::move(manifest)));
    } catch (const PeerError&) {
      throw;  // the checkpoint may be sound
    } catch (const Error& failure) {
      if (i + 1 == folders.size()) throw UsageError("", failure.message());
      log::warning(failure.message() + "; trying the checkpoint before it");
    }
  }
  throw UsageError(reading, path.string() + ": holds no checkpoint");
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

const fs::path& Checkpoint::path() const noexcept { return impl_->folder; }
std::int64_t Checkpoint::step() const noexcept { return impl_->manifest.step; }
const std::string& Checkpoint::mesh() const noexcept { return impl_->manifest.mesh; }
const Metadata& Checkpoint::metadata() const noexcept { return impl_->manifest.metadata; }

const std::string& Checkpoint::text(const std::string& key) const {
  return impl_->value_as<std::string>(key, "text");
}

std::int64_t Checkpoint::integer(const std::string& key) const {
  return impl_->value_as<std::int64_t>(key, "integer");
}

double Checkpoint::number(const std::string& key) const {
  const MetadataValue& value = impl_->value(key);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return static_cast<double>(*integer);
  return impl_->value_as<double>(key, "number");
}

const std::map<std::string, Checkpoint::TensorInfo>& Checkpoint::tensors() const noexcept {
  return impl_->tensors;
}

std::vector<Checkpoint::FileInfo> Checkpoint::files() const {
  std::vector<FileInfo> files;
  for (const StoredFile& file : impl_->manifest.files) {
    files.push_back({file.name, file.bytes, file.xxh64, file.blocks.size()});
  }
  return files;
}

bool Checkpoint::contains(const std::string& name) const { return impl_->tensors.count(name) > 0; }

void Checkpoint::read(const std::string& name, std::span<const Block> block, void* to,
                      DType type) const {
  const auto info = impl_->tensors.find(name);
  if (info == impl_->tensors.end()) {
    throw UsageError(reading, impl_->folder.string() + ": holds no tensor " + name,
                     "it is of another model");
  }
  const Shape& shape = info->second.shape;
  bool fits = static_cast<int>(block.size()) == shape.dims();
  Index wanted = 1;
  for (int dim = 0; fits && dim < shape.dims(); ++dim) {
    const Block& range = block[static_cast<std::size_t>(dim)];
    fits = range.begin >= 0 && range.size >= 0 && range.end() <= shape[dim];
    wanted *= range.size;
  }
  if (!fits) {
    throw Error(reading,
                "the block asked of tensor " + name + " is out of its shape " + shape.text(),
                "the checkpoint is of a model of other dimensions");
  }
  if (type != info->second.dtype && !(is_floating(type) && is_floating(info->second.dtype))) {
    throw Error(reading, "tensor " + name + " has type " +
                             std::string(name_of(info->second.dtype)) + ", asked for as " +
                             std::string(name_of(type)));
  }

  Index copied = 0;
  for (const Impl::Location& location : impl_->locations.at(name)) {
    bool meets = true;
    for (std::size_t dim = 0; dim < block.size(); ++dim) {
      const Block& range = location.block->block[dim];
      meets &= range.begin < block[dim].end() && block[dim].begin < range.end();
    }
    if (!meets) continue;
    copied += copy_common(location.block->block, static_cast<const char*>(impl_->stored(location).data),
                          info->second.dtype, block, static_cast<char*>(to), type);
  }
  if (copied != wanted) {
    throw Error(reading, impl_->folder.string() + ": tensor " + name + " is not complete",
                "use another checkpoint");
  }
}

}  // namespace shoal
