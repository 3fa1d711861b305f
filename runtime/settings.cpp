#include <shoal/runtime/settings.hpp>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include <shoal/runtime/error.hpp>

namespace shoal {
namespace {

// The variable's text; empty if it is not set.
std::string_view text_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? std::string_view() : std::string_view(text);
}

Seconds seconds_of(const char* variable, Seconds otherwise) {
  const std::string text(text_of(variable));
  if (text.empty()) return otherwise;
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (*end != '\0' || !(seconds > 0) || seconds > 1e9) {
    throw UsageError(variable, "'" + text + "' is not a number of seconds",
                     "set it to a positive number");
  }
  return Seconds(seconds);
}

bool switch_of(const char* variable, bool otherwise) {
  const std::string_view text = text_of(variable);
  if (text.empty()) return otherwise;
  if (text == "1" || text == "on") return true;
  if (text == "0" || text == "off") return false;
  throw UsageError(variable, "'" + std::string(text) + "' is neither on nor off",
                   "set it to 1 or on, 0 or off");
}

WaitPolicy wait_policy_of(const char* variable) {
  const std::string_view text = text_of(variable);
  if (text.empty() || text == "auto") return WaitPolicy::automatic;
  if (text == "spin") return WaitPolicy::spin;
  if (text == "yield") return WaitPolicy::yield;
  if (text == "sleep") return WaitPolicy::sleep;
  throw UsageError(variable, "'" + std::string(text) + "' is no way to wait",
                   "choose one of spin, yield, sleep, auto");
}

std::vector<int> ranks_by_node_of(const char* variable) {
  std::vector<int> ranks;
  const std::string text(text_of(variable));
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find(',', at);
    if (end == std::string::npos) end = text.size();
    int number = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, number);
    if (error != std::errc() || stop != text.data() + end || number < 1 || end + 1 == text.size()) {
      throw UsageError(variable, "'" + text + "' is no list of numbers of ranks",
                       "write how many ranks each node has: 2,1,3");
    }
    ranks.push_back(number);
    at = end + 1;
  }
  return ranks;
}

Settings from_environment() {
  Settings made;
  made.wait = wait_policy_of("SHOAL_WAIT");
  made.timeout = seconds_of("SHOAL_TIMEOUT", made.timeout);
  made.timeout_given = !text_of("SHOAL_TIMEOUT").empty();
  made.silence = std::min(made.timeout, seconds_of("SHOAL_SILENCE", made.silence));
  made.watch = switch_of("SHOAL_WATCH", made.watch);
  made.background = switch_of("SHOAL_BACKGROUND", made.background);
  made.tcp = switch_of("SHOAL_TCP", made.tcp);
  made.preload_lend = switch_of("SHOAL_PRELOAD_LEND", made.preload_lend);
  made.torch_lend = switch_of("SHOAL_TORCH_LEND", made.torch_lend);
  made.check = switch_of("SHOAL_CHECK", made.check);
  made.reproducible = switch_of("SHOAL_REPRODUCIBLE", made.reproducible);
  made.tuning = text_of("SHOAL_TUNING");
  made.flight_recorder = text_of("SHOAL_FLIGHT_RECORDER");
  made.nodes = ranks_by_node_of("SHOAL_NODES");
  return made;
}

}  // namespace

const Settings& settings() {
  static const Settings instance = from_environment();
  return instance;
}

}  // namespace shoal
