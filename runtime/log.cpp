#include <shoal/runtime/log.hpp>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>

#include "process_state.hpp"

namespace shoal::log {
namespace {

// Whether `word` is one of those, separated by commas, in SHOAL_LOG.
bool asked_for(std::string_view word) noexcept {
  const char* wish = std::getenv("SHOAL_LOG");
  std::string_view rest = wish != nullptr ? wish : "";
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    if (rest.substr(0, comma) == word) return true;
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  return false;
}

Level initial_level() {
  if (asked_for("debug")) return Level::debug;
  if (asked_for("warning")) return Level::warning;
  if (asked_for("error")) return Level::error;
  return Level::info;
}

std::atomic<Level>& current() {
  static std::atomic<Level> level{initial_level()};
  return level;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>(
        "shoal", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(spdlog::level::trace);
    made->set_pattern("[shoal %H:%M:%S] %v");
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

std::string with_rank(std::string_view text) {
  const int rank = process_rank();
  return rank < 0 ? std::string(text) : "rank " + std::to_string(rank) + ": " + std::string(text);
}

}  // namespace

void set_level(Level level) noexcept { current() = level; }
Level level() noexcept { return current(); }
bool wants(std::string_view topic) noexcept { return asked_for(topic); }

void debug(std::string_view text) {
  if (current() <= Level::debug) logger().debug("{}", with_rank(text));
}

void info(std::string_view text) {
  if (current() <= Level::info && process_rank() <= 0) logger().info("{}", text);
}

void warning(std::string_view text) {
  if (current() <= Level::warning && process_rank() <= 0) logger().warn("warning: {}", text);
}

void error(std::string_view text) {
  if (current() <= Level::error) logger().error("error: {}", with_rank(text));
}

}  // namespace shoal::log
