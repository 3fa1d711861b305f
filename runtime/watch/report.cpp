#include "watch/report.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace shoal::watch {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* causes[] = {"died", "silent", "terminated", "error"};

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// "rank 2", "ranks 0, 1 and 5 others".
std::string name_of(const std::vector<Rank>& ranks) {
  constexpr std::size_t most = 8;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < std::min(ranks.size(), most); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  }
  if (ranks.size() > most) text += fmt::format(" and {} others", ranks.size() - most);
  return text;
}

std::string doing(const RankState& state) {
  if (!state.known) return "had called nothing yet";
  if (state.latest.state == "started") return "waited in " + state.latest.text();
  if (state.latest.state == "failed") return "failed in " + state.latest.text();
  return "computed after " + state.latest.text();
}

// What the ranks beside the failed one did, those that did the same together.
std::string others_doing(const Report& report) {
  std::vector<std::pair<std::string, std::vector<Rank>>> groups;
  for (std::size_t i = 0; i < report.ranks.size(); ++i) {
    const auto rank = static_cast<Rank>(i);
    if (rank == report.fault.rank || !report.ranks[i].known) continue;
    const std::string text = doing(report.ranks[i]);
    const auto same = std::find_if(groups.begin(), groups.end(),
                                   [&](const auto& group) { return group.first == text; });
    if (same != groups.end())
      same->second.push_back(rank);
    else
      groups.push_back({text, {rank}});
  }
  // Those who wait say most of where the run stood.
  std::stable_partition(groups.begin(), groups.end(),
                        [](const auto& group) { return group.first.starts_with("waited"); });
  constexpr std::size_t most = 3;
  std::string all;
  for (std::size_t i = 0; i < std::min(groups.size(), most); ++i) {
    all += (i == 0 ? "" : ", ") + name_of(groups[i].second) + ' ' + groups[i].first;
  }
  if (groups.size() > most) all += ", the rest other things";
  return all;
}

}  // namespace

std::string Fault::to_json() const {
  Json json;
  json["cause"] = causes[static_cast<std::size_t>(cause)];
  json["rank"] = rank;
  json["text"] = text;
  json["status"] = status;
  return dump(json);
}

Fault Fault::parse(const std::string& text) {
  Fault fault;
  const Json json = Json::parse(text);
  const auto at =
      std::find(std::begin(causes), std::end(causes), json.at("cause").get<std::string>());
  if (at != std::end(causes)) fault.cause = static_cast<Cause>(at - std::begin(causes));
  json.at("rank").get_to(fault.rank);
  json.at("text").get_to(fault.text);
  json.at("status").get_to(fault.status);
  return fault;
}

std::string own_record() {
  Json calls = Json::array();
  for (const flight::Entry& entry : flight::entries()) calls.push_back(flight::to_json(entry));
  return dump(calls);
}

std::string beat_text() {
  flight::Entry entry;
  return flight::latest(entry) ? dump(flight::to_json(entry)) : std::string();
}

void read_beat(const std::string& text, RankState& state) {
  if (text.empty()) return;
  try {
    state.latest = flight::entry_of(Json::parse(text));
    state.known = true;
  } catch (const Json::exception&) {
    state.known = false;
  }
}

bool failed_alike(const Report& report) {
  return std::all_of(report.ranks.begin(), report.ranks.end(), [&](const RankState& state) {
    return state.failure && *state.failure == report.ranks.front().failure;
  });
}

std::string write_records(const Report& report) {
  const std::filesystem::path path = flight::new_file();
  if (path.empty()) return {};
  Json json;
  json["fault"] = Json::parse(report.fault.to_json());
  json["fault"]["host"] = report.hosts[static_cast<std::size_t>(report.fault.rank)];
  Json& ranks = json["ranks"] = Json::array();
  for (std::size_t i = 0; i < report.ranks.size(); ++i) {
    const RankState& state = report.ranks[i];
    Json one;
    one["rank"] = i;
    one["host"] = report.hosts[i];
    one["answered"] = !state.record.empty();
    one["calls"] = Json::array();
    try {
      if (!state.record.empty())
        one["calls"] = Json::parse(state.record);
      else if (state.known)
        one["calls"].push_back(flight::to_json(state.latest));
    } catch (const Json::exception&) {
      one["answered"] = false;
    }
    ranks.push_back(std::move(one));
  }
  std::error_code none;
  std::filesystem::create_directories(path.parent_path(), none);
  std::ofstream file(path, std::ios::binary);
  file << dump(json, 1) << '\n';
  file.close();
  if (!file) return fmt::format("(cannot write {}: {})", path.string(), std::strerror(errno));
  return "the last calls of every rank are in " + path.string();
}

std::string message_of(const Report& report, const std::string& records) {
  const Fault& fault = report.fault;
  const auto at = static_cast<std::size_t>(fault.rank);
  std::string text = fmt::format("rank {} on {}", fault.rank, report.hosts[at]);
  std::string cure;
  switch (fault.cause) {
    case Fault::Cause::died:
      text += " died: its process ended without taking leave";
      cure = "look at what it printed and, for memory that ran out, at dmesg on its host";
      break;
    case Fault::Cause::silent:
      text += fmt::format(
          " is silent: no heartbeat for {:.3g} s, so it was stopped or its host is cut off",
          report.silence.count());
      cure = "see whether its host runs and is reached, or raise SHOAL_SILENCE (seconds)";
      break;
    case Fault::Cause::terminated:
      text += " was ended by SIGTERM";
      cure = "see who sent it";
      break;
    case Fault::Cause::error:
      text += ": " + fault.text;
      break;
  }
  const RankState& state = report.ranks[at];
  if (state.known)
    text +=
        fmt::format("; it {}{}", fault.cause == Fault::Cause::error ? "" : "last ", doing(state));
  const std::string others = others_doing(report);
  if (!others.empty()) text += ", " + others;
  if (!records.empty()) text += "; " + records;
  if (!cure.empty()) text += "; " + cure;
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  return text;
}

std::string slow_wait(const Report& report, Seconds limit, Seconds bound, std::string& key) {
  std::size_t longest = report.ranks.size();
  for (std::size_t i = 0; i < report.ranks.size(); ++i) {
    const RankState& state = report.ranks[i];
    if (!state.known || state.latest.state != "started" || state.latest.age < limit.count())
      continue;
    if (longest == report.ranks.size() || state.latest.age > report.ranks[longest].latest.age) {
      longest = i;
    }
  }
  if (longest == report.ranks.size()) return {};
  const flight::Entry& wait = report.ranks[longest].latest;
  key = fmt::format("{} {}", wait.communicator, wait.sequence);
  std::string elsewhere;
  int named = 0;
  for (std::size_t i = 0; i < report.ranks.size() && named < 3; ++i) {
    const RankState& state = report.ranks[i];
    const bool there = state.known && state.latest.state == "started" &&
                       state.latest.operation == wait.operation &&
                       state.latest.communicator == wait.communicator &&
                       state.latest.sequence == wait.sequence;
    if (i == longest || there) continue;
    elsewhere += fmt::format("; rank {} on {} {}", i, report.hosts[i], doing(state));
    ++named;
  }
  return fmt::format(
      "rank {} on {} has waited {:.0f} s in {}{}; every rank is alive, the run goes on until a "
      "wait "
      "lasts {:.0f} s (SHOAL_TIMEOUT)",
      longest, report.hosts[longest], wait.age, wait.text(), elsewhere, bound.count());
}

}  // namespace shoal::watch
