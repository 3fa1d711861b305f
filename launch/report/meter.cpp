#include "report/meter.hpp"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace shoal::launch::report {
namespace {

constexpr int bar_cells = 20;

// UTF-8 by characters, not by bytes.
std::string cut_to(const std::string& text, std::size_t columns) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (count++ == columns) return text.substr(0, i);
  }
  return text;
}

}  // namespace

std::string bar_text(int width, double share, int number, int count, const std::string& title,
                     double seconds_left) {
  const int full = static_cast<int>(std::clamp(share, 0.0, 1.0) * bar_cells + 0.5);
  const auto left = static_cast<int>(std::max(seconds_left, 0.0) + 0.5);
  const std::string tail = fmt::format(", {}:{:02} left", left / 60, left % 60);
  const std::string head =
      fmt::format("[{}{}] {}/{} ", std::string(static_cast<std::size_t>(full), '='),
                  std::string(static_cast<std::size_t>(bar_cells - full), ' '), number, count);
  const auto columns = static_cast<std::size_t>(std::max(width - 1, 1));
  const std::size_t room = columns > head.size() + tail.size() ? columns - head.size() - tail.size() : 0;
  return cut_to(head + cut_to(title, room) + tail, columns);
}

Meter::Meter(int width, double expected, int count)
    : width_(width), expected_(std::max(expected, 1.0)), count_(count), start_(Clock::now()) {}

Meter::~Meter() { clear(); }

void Meter::clear() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

void Meter::begin(const std::string& title, double expected) {
  ++number_;
  title_ = title;
  current_ = expected;
  began_ = Clock::now();
  tick();
}

void Meter::tick() {
  if (width_ <= 0) return;
  // Nothing counts for more than was expected of it.
  const double here =
      std::min(std::chrono::duration<double>(Clock::now() - began_).count(), current_);
  const double done = done_ + here;
  std::fputs(("\r" + bar_text(width_, done / expected_, number_, count_, title_, expected_ - done) +
              "\x1b[K")
                 .c_str(),
             stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void Meter::end(const std::string& how) {
  clear();
  done_ += current_;
  std::string line = fmt::format("{}/{} {}: {}", number_, count_, title_, how);
  if (width_ > 0) line = cut_to(line, static_cast<std::size_t>(width_ - 1));
  std::fputs((line + '\n').c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace shoal::launch::report
