#include "profiles/fields.hpp"

#include <cmath>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

namespace shoal::planning {

void refuse_profile(const std::string& where, const std::string& problem) {
  throw UsageError("profile " + where, problem, "see docs/planning.md for what profiles hold");
}

ProfileJson parse_profile(const std::string& text, const std::string& where, const char* kind) {
  constexpr std::size_t largest = std::size_t{1} << 20;
  if (text.size() > largest) refuse_profile(where, "it is larger than a MiB");
  // Nesting deeper than any profile's would overflow the parser's stack.
  constexpr int deepest = 16;
  int depth = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > deepest) refuse_profile(where, "it is nested too deeply");
  }
  ProfileJson json = ProfileJson::parse(text, nullptr, false);
  if (json.is_discarded()) refuse_profile(where, "it is not JSON");
  if (!json.is_object()) refuse_profile(where, "it is not a JSON object");
  const auto found = json.find("kind");
  if (found == json.end() || !found->is_string() || found->get<std::string>() != kind) {
    refuse_profile(where, fmt::format("its \"kind\" is not \"{}\"", kind));
  }
  json.erase("kind");
  return json;
}

Fields::Fields(const ProfileJson& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) refuse_profile(where_, "where an object should be there is none");
}

const ProfileJson& Fields::member(const char* name) {
  const auto found = object_.find(name);
  if (found == object_.end()) refuse_profile(where_, fmt::format("\"{}\" is missing", name));
  taken_.insert(name);
  return *found;
}

std::string Fields::text(const char* name) {
  const ProfileJson& value = member(name);
  if (!value.is_string() || value.get<std::string>().empty()) {
    refuse_profile(where_, fmt::format("\"{}\" is not a text", name));
  }
  return value.get<std::string>();
}

bool Fields::flag(const char* name, bool otherwise) {
  if (!has(name)) return otherwise;
  const ProfileJson& value = member(name);
  if (!value.is_boolean()) refuse_profile(where_, fmt::format("\"{}\" is not true or false", name));
  return value.get<bool>();
}

Index Fields::whole(const char* name, Index least, Index most) {
  const ProfileJson& value = member(name);
  const bool small =
      value.is_number_unsigned() && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most);
  if (!small || static_cast<Index>(value.get<std::uint64_t>()) < least) {
    refuse_profile(where_,
                   fmt::format("\"{}\" is not a whole number from {} to {}", name, least, most));
  }
  return static_cast<Index>(value.get<std::uint64_t>());
}

Index Fields::whole_or(const char* name, Index otherwise, Index least, Index most) {
  return has(name) ? whole(name, least, most) : otherwise;
}

Figure Fields::figure(const char* name, double least, double most) {
  const ProfileJson& value = member(name);
  const auto bad = [&](const char* what) {
    refuse_profile(where_,
                   fmt::format("\"{}\" is not [number, confidence, source]: {}", name, what));
  };
  if (!value.is_array() || value.size() != 3) bad("it has no three entries");
  if (!value[0].is_number()) bad("the first is no number");
  Figure figure;
  figure.value = value[0].get<double>();
  if (!(figure.value >= least && figure.value <= most)) {
    refuse_profile(where_,
                   fmt::format("\"{}\" is {}, not from {} to {}", name, figure.value, least, most));
  }
  const std::string letter = value[1].is_string() ? value[1].get<std::string>() : "";
  if (letter.size() != 1 || letter[0] < 'A' || letter[0] > 'E')
    bad("the second is no letter A to E");
  figure.confidence = letter[0];
  if (!value[2].is_string() || value[2].get<std::string>().empty()) bad("the third is no source");
  figure.source = value[2].get<std::string>();
  return figure;
}

std::optional<Figure> Fields::figure_if(const char* name, double least, double most) {
  if (!has(name)) return std::nullopt;
  return figure(name, least, most);
}

void Fields::finish() const {
  for (const auto& [name, value] : object_.items()) {
    if (taken_.count(name) == 0) {
      refuse_profile(where_, fmt::format("nobody knows what \"{}\" is", name));
    }
  }
}

}  // namespace shoal::planning
