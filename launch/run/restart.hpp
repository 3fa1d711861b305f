// How a job changes when it is started again.
#pragma once

#include <optional>
#include <string>

#include "process.hpp"

namespace shoal::launch {

/// The value of a flag, "--name value" or "--name=value"; of several the last.
std::optional<std::string> flag_value(const Words& words, const std::string& name);
bool has_flag(const Words& words, const std::string& name);
/// The words with that flag and all its values taken out; for flags that take a value.
Words without_flag(const Words& words, const std::string& name);

/// The words of a training that go on from the newest checkpoint of its out-dir, or begin anew if
/// there is none.
Words resumed_words(const Words& train);

/// A mesh and the ranks it needs.
struct MeshFit {
  std::string mesh;  ///< empty: none, the program chooses
  int ranks = 0;
};

/// Fits a mesh to at most `ranks` ranks: tp stays as it is, dp gets as large as there is room for
/// and never larger than it was. Where not even dp=1 has room, there are fewer stages (pp); where
/// tp alone has none, no mesh is prescribed.
MeshFit fit_mesh(const std::string& mesh, int ranks);

}  // namespace shoal::launch
