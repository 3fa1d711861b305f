// The user's measurements of this cluster: a file that one rank reads for all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace shoal {

/// What rank 0 found when the Runtime started, the same on every rank: all must choose alike, so none
/// reads a file of its own. What the text means is the affair of the collectives.
struct TuningFile {
  std::string path;       ///< empty: there is none
  std::string text;       ///< its contents; empty if it could not be read
  std::string problem;    ///< why it could not be read
  std::string processor;  ///< model name of the machine that read it
};

/// Of the live Runtime, or of the last one; empty before the first.
const TuningFile& tuning_file() noexcept;
/// Grows with each Runtime of this process, so that what was made from the file is made anew.
std::uint64_t tuning_file_generation() noexcept;

/// Where the user's table is unless SHOAL_TUNING says otherwise: $XDG_CONFIG_HOME/shoal/tuning.json, or
/// else ~/.config/shoal/tuning.json; empty if there is no home either.
std::filesystem::path default_tuning_path();

}  // namespace shoal
