// The text under a path.
#pragma once

#include <filesystem>
#include <string>

namespace shoal::models {

/// The contents of a text file, or of all text files under a directory end to end, in sorted order
/// of their paths. Throws UsageError, naming the path, if it is missing, cannot be read or is empty.
std::string read_text(const std::filesystem::path& path);

}  // namespace shoal::models
