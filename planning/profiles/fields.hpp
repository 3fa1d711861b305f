// Reads a profile's JSON strictly: every member is known and used, every number has a range.
#pragma once

#include <optional>
#include <set>
#include <string>

#include <nlohmann/json.hpp>
#include <shoal/planning/profile.hpp>

namespace shoal::planning {

using ProfileJson = nlohmann::ordered_json;

/// An object whose members are taken one by one; finish() refuses what nobody took.
class Fields {
 public:
  Fields(const ProfileJson& object, std::string where);

  bool has(const char* name) const { return object_.contains(name); }
  std::string text(const char* name);
  bool flag(const char* name, bool otherwise);
  Index whole(const char* name, Index least, Index most);
  Index whole_or(const char* name, Index otherwise, Index least, Index most);
  /// [number, confidence, source].
  Figure figure(const char* name, double least, double most);
  std::optional<Figure> figure_if(const char* name, double least, double most);
  const ProfileJson& member(const char* name);
  const std::string& where() const noexcept { return where_; }
  /// Throws if there are members that were not asked for.
  void finish() const;

 private:
  const ProfileJson& object_;
  std::string where_;
  std::set<std::string> taken_;
};

/// Throws UsageError about the profile at `where`.
[[noreturn]] void refuse_profile(const std::string& where, const std::string& problem);
/// The text as one JSON object with the member "kind" of that value; refuses all else.
ProfileJson parse_profile(const std::string& text, const std::string& where, const char* kind);

}  // namespace shoal::planning
