// Which algorithm is the quickest here: measured by `shoal tune`, kept in a file, looked up by the
// collectives.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/buffer.hpp>

namespace shoal {

/// Sizes at which algorithms change what they do. Each has a built-in value.
enum class Parameter {
  stage_bytes,          ///< "node.stage_bytes": half of a rank's staging area on its node
  inline_bytes,         ///< "node.inline_bytes": up to here data travels in the flag's slot
  stream_bytes,         ///< "memory.stream_bytes": from so many bytes on that a core touches, results in
                        ///< shared buffers are written past the caches; 0: by their sizes (caches.hpp)
  stage_stream_bytes,   ///< "memory.stage_stream_bytes": the same of results that come out of stages
  gathered_short_bytes,  ///< "gathered.short_bytes": up to here, all ranks together, "gathered" has its
                         ///< short form
};
inline constexpr Parameter all_parameters[] = {Parameter::stage_bytes, Parameter::inline_bytes,
                                               Parameter::stream_bytes,
                                               Parameter::stage_stream_bytes,
                                               Parameter::gathered_short_bytes};

/// As in a table's file.
std::string_view name_of(Parameter parameter) noexcept;
Bytes default_of(Parameter parameter) noexcept;
/// What a table may say, both included; stage_bytes must be a multiple of 4096 as well.
std::pair<Bytes, Bytes> limits_of(Parameter parameter) noexcept;

/// The measurements of a cluster: costs for the model, sizes for the algorithms, and for some groups of
/// ranks the quickest algorithm at some sizes. The file is JSON that people can read; docs/tuning.md
/// tells what is in it.
struct TuningTable {
  /// What a group's times were measured on.
  struct Group {
    Operation operation = Operation::all_reduce;
    int ranks = 0;
    int nodes = 0;
    Memory memory = Memory::local;
  };
  /// The quickest at a size, and the times of all that were tried.
  struct Point {
    Bytes bytes = 0;
    std::string algorithm;
    std::map<std::string, double> microseconds;  ///< by algorithm; medians
  };
  struct Entry {
    Group group;
    std::vector<Point> points;  ///< by size, ascending
  };
  /// Of messages between ranks, inside a node and between nodes.
  std::optional<Network> within_node, between_nodes;
  std::map<Parameter, Bytes> parameters;
  std::vector<Entry> entries;
  /// Who measured it, where and how: names and texts, for people; "processor" is compared.
  std::vector<std::pair<std::string, std::string>> provenance;

  /// From a file's text. Throws Error that says what is wrong with it: no JSON, another format, numbers
  /// that make no sense, algorithms this version does not have.
  static TuningTable parse(const std::string& text);
  /// The file's text.
  std::string text() const;

  /// The entry for the group, or else for the most similar one: as many nodes and ranks, or up to twice
  /// or half of either; one node stands only for one node. nullptr if there is none.
  const Entry* find(const Group& group) const noexcept;
  /// The point of an entry whose size is the nearest, by ratio. nullptr if it has none.
  static const Point* nearest(const Entry& entry, Bytes bytes) noexcept;
};

/// Replaces the table that this process looks things up in, for communicators that are made afterwards;
/// nothing: as the Runtime found it. Every rank must set the same.
void use_tuning(const std::optional<TuningTable>& table);

/// One line on what algorithms are chosen from: the table's path and date, or that there is none, or why
/// it was refused.
std::string describe_tuning();

}  // namespace shoal
