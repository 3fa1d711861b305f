#include "pins.hpp"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <shoal/runtime/error.hpp>

#include "processor_mask.hpp"

namespace shoal::launch {
namespace {

int processor_of(const std::string& text) {
  int value = -1;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() || value < 0 ||
      value >= ProcessorMask::most) {
    throw UsageError("run", "\"" + text + "\" is no number of a processor");
  }
  return value;
}

}  // namespace

Pins deal_cores(const std::vector<std::vector<int>>& cores, int ranks, int threads) {
  const auto each = static_cast<std::size_t>(threads);
  if (cores.size() < static_cast<std::size_t>(ranks) * each) return {};
  Pins pins(static_cast<std::size_t>(ranks));
  for (std::size_t i = 0; i < pins.size() * each; ++i) {
    pins[i / each].insert(pins[i / each].end(), cores[i].begin(), cores[i].end());
  }
  return pins;
}

std::string pins_text(const Pins& pins) {
  std::string text;
  for (const std::vector<int>& processors : pins) {
    text += fmt::format("{}{}", text.empty() ? "" : ";", fmt::join(processors, ","));
  }
  return text;
}

Pins parse_pins(const std::string& text) {
  Pins pins;
  std::istringstream places(text);
  for (std::string place; std::getline(places, place, ';');) {
    pins.emplace_back();
    std::istringstream processors(place);
    for (std::string one; std::getline(processors, one, ',');) {
      pins.back().push_back(processor_of(one));
    }
    if (pins.back().empty()) {
      throw UsageError("run", "\"" + text + "\" has a rank without processors");
    }
  }
  if (pins.empty()) throw UsageError("run", "no processors to bind ranks to");
  return pins;
}

void run_pinned(const Pins& pins, const Words& program) {
  const char* place_text = std::getenv("OMPI_COMM_WORLD_LOCAL_RANK");
  const int place = place_text != nullptr ? processor_of(place_text) : -1;
  if (place < 0 || static_cast<std::size_t>(place) >= pins.size() || program.empty()) {
    throw UsageError("run", fmt::format("place {} on this machine, of {}", place, pins.size()),
                     "--pin is for shoal run's own use");
  }
  const std::vector<int>& mine = pins[static_cast<std::size_t>(place)];
  ProcessorMask mask;
  for (const int cpu : mine) mask.add(cpu);
  if (!mask.apply()) {
    throw Error("run", fmt::format("cannot bind the rank to processor {}: {}", fmt::join(mine, ","),
                                   std::strerror(errno)));
  }
  std::vector<char*> words;
  for (const std::string& word : program) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  throw Error("run", program.front() + " cannot be started: " + std::strerror(errno));
}

}  // namespace shoal::launch
