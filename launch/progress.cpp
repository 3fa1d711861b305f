#include "progress.hpp"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "terminal.hpp"

namespace shoal::launch {
namespace {

constexpr auto redraw_interval = std::chrono::milliseconds(100);

// Three or four digits and a unit: "874", "12.3k", "1.25M".
std::string short_number(double value) {
  for (const char* unit : {"", "k", "M", "G"}) {
    if (value < 999.5) {
      return fmt::format("{:.{}f}{}", value, *unit == 0 || value >= 99.95 ? 0 : 1, unit);
    }
    value /= 1000;
  }
  return fmt::format("{:.0f}T", value);
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 48 * 3600) return fmt::format("{}d{:02}h", whole / 86400, whole / 3600 % 24);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

Progress::Mode Progress::parse_mode(const std::string& text) {
  if (text == "auto") return Mode::automatic;
  if (text == "bar") return Mode::bar;
  if (text == "plain") return Mode::plain;
  throw UsageError("--progress", "\"" + text + "\" is not one of auto, bar, plain");
}

Progress::Progress(Mode mode, std::int64_t first_step, std::int64_t max_iters,
                   std::int64_t log_interval)
    : bar_(mode == Mode::bar || (mode == Mode::automatic && terminal_width() > 0)),
      first_step_(first_step),
      max_iters_(max_iters),
      log_interval_(std::max<std::int64_t>(log_interval, 1)),
      start_(Clock::now()) {}

Progress::~Progress() { finish(); }

std::string Progress::bar(const models::StepReport& report, int width) const {
  const std::int64_t done = report.step + 1;
  const double spent = std::chrono::duration<double>(Clock::now() - start_).count();
  const double left = spent / static_cast<double>(std::max<std::int64_t>(done - first_step_, 1)) *
                      static_cast<double>(max_iters_ - done);
  const std::string head = fmt::format("{}/{} ", done, max_iters_);
  const std::string tail = fmt::format(
      " loss {:.4f} {} tok/s {} GFLOP/s comm {:.0f}% ETA {}", *report.loss,
      short_number(report.tokens_per_s), short_number(report.gflops), 100 * report.comm_share,
      duration(left));
  const int room = width - 1 - static_cast<int>(head.size() + tail.size()) - 2;
  std::string line = head;
  if (room >= 4) {
    const int cells = std::min(room, 40);
    const auto full = static_cast<int>(done * cells / max_iters_);
    line += '[' + std::string(static_cast<std::size_t>(full), '=') +
            std::string(static_cast<std::size_t>(cells - full), ' ') + ']';
  }
  line += tail;
  line.resize(std::min(line.size(), static_cast<std::size_t>(std::max(width - 1, 1))));
  return line;
}

void Progress::step(const models::StepReport& report) {
  if (report.val_loss) {
    const std::string line = fmt::format("step {}: train loss {:.4f}, val loss {:.4f}\n",
                                         report.step, *report.train_loss, *report.val_loss);
    if (drawn_) std::fputs("\r\x1b[K", stderr);
    drawn_ = false;
    std::fputs(line.c_str(), bar_ ? stderr : stdout);
    std::fflush(stdout);
  }
  if (!report.loss) return;
  const bool last = report.step + 1 == max_iters_;
  if (bar_) {
    const auto now = Clock::now();
    if (drawn_ && !last && now - last_drawn_ < redraw_interval) return;
    last_drawn_ = now;
    drawn_ = true;
    const int width = terminal_width();  // it may change while the run lasts
    std::fputs(("\r" + bar(report, width > 0 ? width : usual_width) + "\x1b[K").c_str(), stderr);
    std::fflush(stderr);
  } else if (report.step % log_interval_ == 0 || last) {
    const std::string line = fmt::format(
        "step {:>5}  loss {:.4f}  lr {:.1e} {:>7.1f} ms {:>6} tok/s {:>5} GFLOP/s comm {:.0f}%\n",
        report.step, *report.loss, report.learning_rate, report.step_ms,
        short_number(report.tokens_per_s), short_number(report.gflops), 100 * report.comm_share);
    std::fputs(line.c_str(), stdout);
    std::fflush(stdout);
  }
}

void Progress::finish() {
  if (drawn_) std::fputs("\n", stderr);
  drawn_ = false;
}

}  // namespace shoal::launch
