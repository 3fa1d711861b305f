// The steps in which a checkpoint comes to be. File work only: no step talks to other ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/safetensors.hpp>

#include "checkpoint/manifest.hpp"

namespace shoal {

inline constexpr const char* save_operation = "save_checkpoint";

/// ROOT/.unfinished-step-NNNNNNNN: hidden, so that nobody takes what is half written for a
/// checkpoint.
std::filesystem::path unfinished_folder(const std::filesystem::path& root, std::int64_t step);
/// With all folders above it. Throws Error.
void make_folder(const std::filesystem::path& folder);
/// Makes the unfinished folder of this step, which holds the files of the spare if there is one, and
/// removes what runs that crashed while writing have left. Throws Error.
void begin_folder(const std::filesystem::path& root, std::int64_t step);

/// What a rank writes: its file, whose length and checksum come later, and the tensors that go into
/// it. A rank that owns nothing writes no file; its name is empty.
struct ShardPlan {
  StoredFile file;
  std::vector<NamedTensor> tensors;
};

/// What rank `rank` owns of `slices`. Throws Error for a slice that is out of its tensor.
ShardPlan plan_shard(Rank rank, std::span<const TensorSlice> slices);

/// Writes the manifest to the unfinished folder, gives that its name, and removes checkpoints
/// beyond the last `keep_last`; one becomes the spare (spare.hpp), which is the caller's to remove at
/// the end. Returns what is wrong although the checkpoint is good: one that could not be removed.
std::string publish(const std::filesystem::path& root, const Manifest& manifest, int keep_last);

/// "; the previous checkpoint FOLDER is kept", or that there was none.
std::string what_is_kept(const std::filesystem::path& root);

}  // namespace shoal
