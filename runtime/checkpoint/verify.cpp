#include <algorithm>
#include <set>

#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/safetensors.hpp>

#include "checkpoint/file.hpp"
#include "checkpoint/manifest.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;

bool is_stored(const NamedTensor* found, const StoredBlock& stored) {
  bool same = found != nullptr && found->dtype == stored.dtype &&
              found->shape.dims() == stored.global.dims();
  for (int dim = 0; same && dim < found->shape.dims(); ++dim) {
    same = found->shape[dim] == stored.block[static_cast<std::size_t>(dim)].size;
  }
  return same;
}

// The file against the manifest: its bytes, and what it says that they are.
std::vector<std::string> problems_of(const fs::path& path, const StoredFile& file) {
  std::vector<std::string> problems;
  try {
    const FileDigest digest = digest_file(path);
    if (digest.bytes != file.bytes) {
      problems.push_back(path.string() + ": " + std::to_string(digest.bytes) +
                         " bytes, the manifest says " + std::to_string(file.bytes));
    } else if (digest.xxh64 != file.xxh64) {
      problems.push_back(path.string() + ": damaged: its checksum is not that of the manifest");
    }
    const SafetensorsFile tensors(path);
    std::set<std::string> keys;
    for (const StoredBlock& stored : file.blocks) {
      if (!keys.insert(stored.key).second) {
        problems.push_back(path.string() + ": the manifest uses tensor " + stored.key + " twice");
      }
      if (!is_stored(tensors.find(stored.key), stored)) {
        problems.push_back(path.string() + ": tensor " + stored.key +
                           " is not what the manifest says");
      }
    }
    for (const NamedTensor& tensor : tensors.tensors()) {
      if (keys.count(tensor.name) == 0) {
        problems.push_back(path.string() + ": tensor " + tensor.name + " is not in the manifest");
      }
    }
  } catch (const Error& error) {
    problems.push_back(error.message());
  }
  return problems;
}

}  // namespace

std::vector<std::string> verify_checkpoint(const fs::path& folder) {
  std::vector<std::string> problems;
  Manifest manifest;
  try {
    manifest = read_manifest(folder);
  } catch (const Error& error) {
    return {error.message()};
  }
  if (step_of(folder) >= 0 && step_of(folder) != manifest.step) {
    problems.push_back(folder.string() + ": the manifest is of step " +
                       std::to_string(manifest.step));
  }
  std::set<std::string> names{manifest_name};
  for (const StoredFile& file : manifest.files) {
    names.insert(file.name);
    const std::vector<std::string> found = problems_of(folder / file.name, file);
    problems.insert(problems.end(), found.begin(), found.end());
  }
  std::error_code code;
  for (const auto& entry : fs::directory_iterator(folder, code)) {
    if (names.count(entry.path().filename().string()) == 0) {
      problems.push_back(entry.path().string() + ": is not in the manifest");
    }
  }
  return problems;
}

std::vector<fs::path> checkpoint_folders(const fs::path& path) {
  std::error_code code;
  if (!fs::is_directory(path, code)) {
    throw UsageError("checkpoint", path.string() + ": " + (code ? code.message() : "not a folder"),
                     "name the folder of a checkpoint, or the one that holds them");
  }
  if (fs::exists(path / manifest_name, code) || step_of(path) >= 0) return {path};
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(path, code)) {
    if (step_of(entry.path()) >= 0) folders.push_back(entry.path());
  }
  if (code) throw UsageError("", file_error("checkpoint", path, code.value()).message());
  std::sort(folders.begin(), folders.end(),
            [](const fs::path& a, const fs::path& b) { return step_of(a) > step_of(b); });
  if (folders.empty()) {
    throw UsageError("checkpoint", path.string() + ": holds no checkpoint",
                     "name a folder that shoal train has written with --out-dir");
  }
  return folders;
}

}  // namespace shoal
