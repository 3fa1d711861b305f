#include "restart.hpp"

#include <algorithm>

#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/mesh.hpp>

namespace shoal::launch {

std::optional<std::string> flag_value(const Words& words, const std::string& name) {
  std::optional<std::string> value;
  const std::string with_equals = name + '=';
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == name && i + 1 < words.size())
      value = words[++i];
    else if (words[i].rfind(with_equals, 0) == 0)
      value = words[i].substr(with_equals.size());
  }
  return value;
}

bool has_flag(const Words& words, const std::string& name) {
  return std::find(words.begin(), words.end(), name) != words.end();
}

Words without_flag(const Words& words, const std::string& name) {
  Words kept;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == name) {
      ++i;
    } else if (words[i].rfind(name + '=', 0) != 0) {
      kept.push_back(words[i]);
    }
  }
  return kept;
}

Words resumed_words(const Words& train) {
  Words words;
  std::copy_if(train.begin(), train.end(), std::back_inserter(words),
               [](const std::string& word) { return word != "--resume"; });
  const std::string folder = flag_value(train, "--out-dir").value_or("out");
  if (!complete_checkpoints(folder).empty()) words.emplace_back("--resume");
  return words;
}

MeshFit fit_mesh(const std::string& mesh, int ranks) {
  MeshShape shape = MeshShape::parse(mesh);
  const int tp = shape.size() / shape.size_of("dp") / shape.size_of("pp");
  if (ranks < tp) return {"", ranks};
  const int pp = std::min(shape.size_of("pp"), ranks / tp);
  const int dp = std::min(shape.size_of("dp"), ranks / tp / pp);
  for (MeshShape::Axis& axis : shape.axes) {
    if (axis.name == "dp") axis.size = dp;
    if (axis.name == "pp") axis.size = pp;
  }
  return {shape.text(), shape.size()};
}

}  // namespace shoal::launch
