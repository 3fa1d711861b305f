// Reading the flight recorder, for the watch and for messages.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace shoal::flight {

/// One call of a rank, as it travels to other ranks and into the file.
struct Entry {
  std::uint64_t sequence = 0;
  std::string operation;
  std::string communicator;
  std::string algorithm;
  std::int64_t count = -1;
  std::string type;
  std::string op;
  int peer = -1;
  std::string state;   ///< "started", "done", "failed"
  double started = 0;  ///< seconds since 1970
  double age = 0;      ///< seconds from its start to when this was taken

  /// "all_reduce #12 over tp (4096 f32)", "receive from rank 3 over pp".
  std::string text() const;
  bool operator==(const Entry&) const = default;
};

nlohmann::ordered_json to_json(const Entry& entry);
/// Throws what nlohmann::json throws for a text that is no entry.
Entry entry_of(const nlohmann::ordered_json& json);

/// The last calls of this process, oldest first. From any thread, at any time.
std::vector<Entry> entries();
/// The innermost call under way, or else the last one. False if there was none.
bool latest(Entry& entry);

/// Where a file of this run goes; empty if the user wants none.
std::filesystem::path new_file();

/// A text that lives as long as the process, for names that the recorder points to.
const char* intern(const std::string& text);

}  // namespace shoal::flight
