#include <algorithm>
#include <cstdio>
#include <map>

#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>

#include "checkpoint_agree.hpp"
#include "checkpoint_file.hpp"
#include "checkpoint_manifest.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;

constexpr const char* operation = "save_checkpoint";
// Hidden, so that nobody takes what is half written for a checkpoint.
constexpr const char* unfinished_prefix = ".unfinished-";

fs::path unfinished_folder(const fs::path& root, std::int64_t step) {
  return root / (unfinished_prefix + folder_of(root, step).filename().string());
}

// What runs that crashed while writing have left.
void remove_unfinished(const fs::path& root) {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(root, code)) {
    if (entry.path().filename().string().rfind(unfinished_prefix, 0) == 0) {
      fs::remove_all(entry.path(), code);
    }
  }
}

void make_folder(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) throw file_error(operation, folder, code.value());
}

void check_slice(const TensorSlice& slice) {
  bool fits = static_cast<int>(slice.block.size()) == slice.global.dims();
  for (int dim = 0; fits && dim < slice.global.dims(); ++dim) {
    const Block& range = slice.block[static_cast<std::size_t>(dim)];
    fits = range.begin >= 0 && range.size >= 0 && range.end() <= slice.global[dim];
  }
  if (!fits) {
    throw Error(operation, "the block of tensor " + slice.name + " is out of its shape " +
                               slice.global.text());
  }
}

// Writes what this rank owns. A rank that owns nothing writes no file and returns an empty name.
StoredFile write_shard(const fs::path& folder, Rank rank, std::span<const TensorSlice> slices) {
  StoredFile file;
  std::vector<NamedTensor> tensors;
  std::map<std::string, int> uses;
  for (const TensorSlice& slice : slices) {
    if (!slice.owner) continue;
    check_slice(slice);
    std::vector<Index> extents;
    for (const Block& range : slice.block) extents.push_back(range.size);
    const int use = uses[slice.name]++;
    const std::string key = use == 0 ? slice.name : slice.name + ":" + std::to_string(use);
    tensors.push_back({key, slice.dtype, Shape(std::span<const Index>(extents)), slice.data});
    file.blocks.push_back({slice.name, slice.dtype, slice.global, slice.block, key});
  }
  if (tensors.empty()) return file;
  char name[40];
  std::snprintf(name, sizeof name, "shard-%05d.safetensors", rank);
  file.name = name;
  const FileDigest digest = write_safetensors(folder / file.name, tensors);
  file.bytes = digest.bytes;
  file.xxh64 = digest.xxh64;
  return file;
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  for (const StoredFile& file : manifest.files) {
    std::error_code code;
    if (fs::file_size(folder / file.name, code) != file.bytes || code) {
      throw Error(operation, (folder / file.name).string() + ": not to be seen from rank 0",
                  "use a folder on a file system that all hosts share");
    }
  }
  const std::string text = manifest.text();
  FileWriter file(folder / manifest_name);
  file.write(text.data(), text.size());
  file.finish();
  sync_directory(folder);
}

// Gives the folder its name. A checkpoint of the same step, from an earlier run, is put aside first:
// rename does not replace a folder that has entries.
void publish(const fs::path& unfinished, const fs::path& folder) {
  const fs::path aside = unfinished.string() + "-replaced";
  std::error_code code;
  const bool replaces = fs::exists(folder, code);
  if (replaces) {
    fs::rename(folder, aside, code);
    if (code) throw file_error(operation, folder, code.value());
  }
  fs::rename(unfinished, folder, code);
  if (code) {
    std::error_code ignored;
    if (replaces) fs::rename(aside, folder, ignored);
    throw file_error(operation, folder, code.value());
  }
  sync_directory(folder.parent_path());
  fs::remove_all(aside, code);
}

void remove_old(const fs::path& root, int keep_last) {
  std::vector<std::int64_t> steps = complete_checkpoints(root);
  const auto keep = static_cast<std::size_t>(std::max(keep_last, 1));
  for (std::size_t i = 0; i + keep < steps.size(); ++i) {
    std::error_code code;
    fs::remove_all(folder_of(root, steps[i]), code);
    if (code) {
      log::warning("old checkpoint " + folder_of(root, steps[i]).string() +
                   " could not be removed: " + code.message());
    }
  }
}

// "; the previous checkpoint FOLDER is kept", or that there was none.
std::string what_is_kept(const fs::path& root) {
  const std::vector<std::int64_t> steps = complete_checkpoints(root);
  if (steps.empty()) return "; there is no earlier checkpoint in " + root.string();
  return "; the previous checkpoint " + folder_of(root, steps.back()).string() + " is kept";
}

}  // namespace

void save_checkpoint(const Communicator& world, const fs::path& root, std::int64_t step,
                     std::span<const TensorSlice> slices, const Metadata& metadata,
                     const SaveOptions& options) {
  const fs::path unfinished = unfinished_folder(root, step);
  const bool first = world.rank() == 0;
  try {
    together(world, [&] {
      if (!first) return;
      make_folder(root);
      remove_unfinished(root);
      make_folder(unfinished);
    });

    StoredFile shard;
    together(world, [&] {
      // On a network file system this host may not know of the folder yet.
      make_folder(unfinished);
      shard = write_shard(unfinished, world.rank(), slices);
    });

    const std::vector<std::string> shards = gather_texts(world, shard.name.empty() ? "" : shard.text());
    together(world, [&] {
      if (!first) return;
      Manifest manifest{step, options.mesh, metadata, {}};
      for (const std::string& text : shards) {
        if (!text.empty()) manifest.files.push_back(StoredFile::parse(text));
      }
      manifest.check_cover(operation);
      write_manifest(unfinished, manifest);
      publish(unfinished, folder_of(root, step));
    });
  } catch (const Error& failure) {
    // All ranks are here, with the same words, unless one of them has died.
    std::string kept;
    if (first) {
      std::error_code ignored;
      fs::remove_all(unfinished, ignored);
      kept = what_is_kept(root);
    }
    throw Error(operation, failure.message() + broadcast_text(world, kept));
  }
  if (first) remove_old(root, options.keep_last);
}

}  // namespace shoal
