// The steps in which a checkpoint comes to be. File work only: no step talks to other ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include <shoal/runtime/checkpoint.hpp>

#include "checkpoint/manifest.hpp"

namespace shoal {

inline constexpr const char* save_operation = "save_checkpoint";

/// ROOT/.unfinished-step-NNNNNNNN: hidden, so that nobody takes what is half written for a
/// checkpoint.
std::filesystem::path unfinished_folder(const std::filesystem::path& root, std::int64_t step);
/// Removes what runs that crashed while writing have left.
void remove_unfinished(const std::filesystem::path& root);
/// With all folders above it. Throws Error.
void make_folder(const std::filesystem::path& folder);

/// Writes what rank `rank` owns of `slices`, synced. A rank that owns nothing writes no file and
/// returns an empty name.
StoredFile write_shard(const std::filesystem::path& folder, Rank rank,
                       std::span<const TensorSlice> slices);

/// Writes the manifest to the unfinished folder, gives that its name, and removes checkpoints
/// beyond the last `keep_last`. Returns what is wrong although the checkpoint is good: one that
/// could not be removed.
std::string publish(const std::filesystem::path& root, const Manifest& manifest, int keep_last);

/// "; the previous checkpoint FOLDER is kept", or that there was none.
std::string what_is_kept(const std::filesystem::path& root);

}  // namespace shoal
