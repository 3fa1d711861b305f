#include "checkpoint/stages.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>

#include <shoal/runtime/error.hpp>

#include "checkpoint/file.hpp"
#include "checkpoint/spare.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;

// Hidden, so that nobody takes what is half written for a checkpoint.
constexpr const char* unfinished_prefix = ".unfinished-";

void check_slice(const TensorSlice& slice) {
  bool fits = static_cast<int>(slice.block.size()) == slice.global.dims();
  for (int dim = 0; fits && dim < slice.global.dims(); ++dim) {
    const Block& range = slice.block[static_cast<std::size_t>(dim)];
    fits = range.begin >= 0 && range.size >= 0 && range.end() <= slice.global[dim];
  }
  if (!fits) {
    throw Error(save_operation, "the block of tensor " + slice.name + " is out of its shape " +
                                    slice.global.text());
  }
}

// A spare of more ranks has files that nobody has written over.
void remove_others(const fs::path& folder, const Manifest& manifest) {
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    const bool ours = std::any_of(manifest.files.begin(), manifest.files.end(),
                                  [&](const StoredFile& file) { return file.name == name; });
    if (!ours) fs::remove_all(entry.path(), code);
    if (code) throw file_error(save_operation, entry.path(), code.value());
  }
  if (code) throw file_error(save_operation, folder, code.value());
}

void write_manifest(const fs::path& folder, const Manifest& manifest) {
  remove_others(folder, manifest);
  for (const StoredFile& file : manifest.files) {
    std::error_code code;
    if (fs::file_size(folder / file.name, code) != file.bytes || code) {
      throw Error(save_operation, (folder / file.name).string() + ": not to be seen from rank 0",
                  "use a folder on a file system that all hosts share");
    }
  }
  const std::string text = manifest.text();
  FileWriter file(folder / manifest_name);
  file.write(text.data(), text.size());
  file.finish();
  sync_directory(folder);
}

// Gives the folder its name. A checkpoint of the same step, from an earlier run, changes places
// with it in one move, so that there is one under that name at every moment; then it goes.
void give_name(const fs::path& unfinished, const fs::path& folder) {
  std::error_code code;
  if (!fs::exists(folder, code)) {
    fs::rename(unfinished, folder, code);
    if (code) throw file_error(save_operation, folder, code.value());
    sync_directory(folder.parent_path());
    return;
  }
  if (::renameat2(AT_FDCWD, unfinished.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) == 0) {
    sync_directory(folder.parent_path());
    fs::remove_all(unfinished, code);
    return;
  }
  if (errno != EINVAL && errno != ENOSYS) throw file_error(save_operation, folder, errno);
  // Not on this file system (NFS): put it aside for the moment between two moves.
  const fs::path aside = unfinished.string() + "-replaced";
  fs::rename(folder, aside, code);
  if (code) throw file_error(save_operation, folder, code.value());
  fs::rename(unfinished, folder, code);
  if (code) {
    std::error_code ignored;
    fs::rename(aside, folder, ignored);
    throw file_error(save_operation, folder, code.value());
  }
  sync_directory(folder.parent_path());
  fs::remove_all(aside, code);
}

// Old ones make way for the one of `step`. Later ones stay: they are damaged, or this run would not
// have begun before them, and must not count for those to keep. Returns what could not be removed.
std::string remove_old(const fs::path& root, std::int64_t step, int keep_last) {
  std::vector<std::int64_t> steps = complete_checkpoints(root);
  steps.erase(std::upper_bound(steps.begin(), steps.end(), step), steps.end());
  const auto keep = static_cast<std::size_t>(std::max(keep_last, 1));
  std::string problem;
  for (std::size_t i = 0; i + keep < steps.size(); ++i) {
    // Hidden first: a run that is killed meanwhile leaves nothing that looks damaged.
    const fs::path hidden = unfinished_folder(root, steps[i]).string() + "-removed";
    std::error_code code;
    fs::rename(folder_of(root, steps[i]), hidden, code);
    if (!code && !keep_as_spare(root, hidden)) fs::remove_all(hidden, code);
    if (code) {
      problem = "old checkpoint " + folder_of(root, steps[i]).string() +
                " could not be removed: " + code.message();
    }
  }
  return problem;
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

}  // namespace

fs::path unfinished_folder(const fs::path& root, std::int64_t step) {
  return root / (unfinished_prefix + folder_of(root, step).filename().string());
}

void make_folder(const fs::path& folder) {
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) throw file_error(save_operation, folder, code.value());
}

void begin_folder(const fs::path& root, std::int64_t step) {
  make_folder(root);
  remove_unfinished(root);
  const fs::path folder = unfinished_folder(root, step);
  if (take_spare(root, folder)) {
    std::error_code code;
    fs::remove(folder / manifest_name, code);
    if (code) throw file_error(save_operation, folder / manifest_name, code.value());
  }
  make_folder(folder);
}

ShardPlan plan_shard(Rank rank, std::span<const TensorSlice> slices) {
  ShardPlan shard;
  std::map<std::string, int> uses;
  for (const TensorSlice& slice : slices) {
    if (!slice.owner) continue;
    check_slice(slice);
    std::vector<Index> extents;
    for (const Block& range : slice.block) extents.push_back(range.size);
    const int use = uses[slice.name]++;
    const std::string key = use == 0 ? slice.name : slice.name + ":" + std::to_string(use);
    shard.tensors.push_back({key, slice.dtype, Shape(std::span<const Index>(extents)), slice.data});
    shard.file.blocks.push_back({slice.name, slice.dtype, slice.global, slice.block, key});
  }
  if (shard.tensors.empty()) return shard;
  char name[40];
  std::snprintf(name, sizeof name, "shard-%05d.safetensors", rank);
  shard.file.name = name;
  return shard;
}

std::string what_is_kept(const fs::path& root) {
  const std::vector<std::int64_t> steps = complete_checkpoints(root);
  if (steps.empty()) return "; there is no earlier checkpoint in " + root.string();
  return "; the previous checkpoint " + folder_of(root, steps.back()).string() + " is kept";
}

std::string publish(const fs::path& root, const Manifest& manifest, int keep_last) {
  const fs::path unfinished = unfinished_folder(root, manifest.step);
  write_manifest(unfinished, manifest);
  give_name(unfinished, folder_of(root, manifest.step));
  return remove_old(root, manifest.step, keep_last);
}

}  // namespace shoal
