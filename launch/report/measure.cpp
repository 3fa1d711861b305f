#include "report/measure.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

#include "signals.hpp"

namespace shoal::launch::report {
namespace {

using MeasureClock = std::chrono::steady_clock;

constexpr double least_limit = 120, limit_factor = 12;  // seconds, and of what is expected
constexpr double patience = 15;                         // of a child that was asked to end
constexpr int poll_ms = 200;

double seconds_since(MeasureClock::time_point start) {
  return std::chrono::duration<double>(MeasureClock::now() - start).count();
}

// How a child ended.
struct ChildEnd {
  int status = 0;
  bool timed_out = false;
  int signal = 0;  // that we got meanwhile
  std::string last_error;
};

// The last line that says something, without shoal's name in front.
std::string last_line(const std::string& text) {
  std::istringstream lines(text);
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  }
  if (last.starts_with("shoal: ")) last.erase(0, 7);
  return last.substr(0, 400);
}

enum class Leftovers { kill, keep };

// Runs one child to its end; what it says goes to `log`.
ChildEnd run_child_to_end(const Words& words, std::ofstream& log, double limit, Meter& meter,
                          SignalQueue* signals, Leftovers leftovers) {
  log << "$ " << shell_line(words) << '\n';
  ChildEnd end;
  ChildProcess child(words, {});
  const auto start = MeasureClock::now();
  auto asked = MeasureClock::time_point::max();
  std::string output, errors;
  for (;;) {
    std::vector<pollfd> waiting;
    for (Descriptor* each : {&child.output(), &child.errors()}) {
      if (each->is_open()) waiting.push_back({each->get(), POLLIN, 0});
    }
    if (signals != nullptr) waiting.push_back({signals->descriptor(), POLLIN, 0});
    poll(waiting.data(), waiting.size(), poll_ms);
    if (child.output().is_open()) child.output().read_into(output);
    if (child.errors().is_open()) child.errors().read_into(errors);
    for (std::string* text : {&output, &errors}) {
      log << *text;
      if (text == &errors) end.last_error += *text;
      text->clear();
    }
    log.flush();
    if (end.last_error.size() > 20000) end.last_error.erase(0, end.last_error.size() - 10000);
    while (signals != nullptr) {
      const std::optional<int> number = signals->next();
      if (!number) break;
      if (*number == SIGCHLD) continue;
      end.signal = *number;
      // The first one asks, and another one insists.
      child.signal(asked == MeasureClock::time_point::max() ? SIGTERM : SIGKILL);
      asked = std::min(asked, MeasureClock::now());
    }
    const std::optional<int> status = child.status();
    // What a child of its own holds open does not count.
    if (status) {
      for (Descriptor* each : {&child.output(), &child.errors()}) {
        std::string rest;
        if (each->is_open()) each->read_into(rest);
        log << rest;
        end.last_error += rest;
      }
      end.status = *status;
      break;
    }
    if (asked == MeasureClock::time_point::max() && seconds_since(start) > limit) {
      end.timed_out = true;
      child.signal(SIGTERM);
      asked = MeasureClock::now();
    }
    if (asked != MeasureClock::time_point::max() && seconds_since(asked) > patience) {
      child.signal_group(SIGKILL);
      asked = MeasureClock::now();
    }
    meter.tick();
  }
  if (leftovers == Leftovers::kill) {
    child.signal_group(SIGKILL);
    kill_orphans();
  }
  end.last_error = last_line(end.last_error);
  return end;
}

class Conductor {
 public:
  Conductor(const MeasureOptions& options, Meter& meter, SignalQueue& signals)
      : options_(options), meter_(meter), signals_(signals), start_(MeasureClock::now()) {}

  int signal() const noexcept { return signal_; }

  void carry_out(const Measurement& each, Run& run) {
    run.problem = each.why_not;
    if (signal_ != 0) {
      if (run.problem.empty()) run.problem = "it was not reached: the report was interrupted";
      return;
    }
    meter_.begin(each.title, each.expected);
    if (!run.problem.empty()) {
      meter_.end("not measured: " + run.problem);
      return;
    }
    const double spent = seconds_since(start_);
    if (each.optional && spent + each.expected > options_.seconds * 1.1) {
      run.state = Run::State::skipped;
      run.problem = fmt::format("{:.0f} s were spent, and it takes some {:.0f}: give it more --minutes",
                                spent, each.expected);
      meter_.end("skipped: " + run.problem);
      return;
    }
    const auto begin = MeasureClock::now();
    std::ofstream log(each.id + ".log", std::ios::binary);
    try {
      run.problem = each.inside ? inside(each) : outside(each, log);
    } catch (const Error& error) {
      run.problem = error.message();
    }
    run.seconds = seconds_since(begin);
    run.state = run.problem.empty() ? Run::State::done
                : signal_ != 0      ? Run::State::missing
                                    : Run::State::failed;
    if (run.state != Run::State::done) {
      log << run.problem << '\n';
      // Half of a file says less than none.
      std::error_code ignored;
      std::filesystem::remove(each.id + ".json", ignored);
    }
    meter_.end(run.state == Run::State::done ? fmt::format("{:.1f} s", run.seconds)
                                             : state_name(run.state) + ": " + run.problem);
  }

 private:
  static std::string inside(const Measurement& each) {
    each.inside();
    return {};
  }

  // Empty, or what went wrong.
  std::string outside(const Measurement& each, std::ofstream& log) {
    std::string problem;
    // What the commands leave is for the clean-up to end, such as the hosts of a lab.
    const Leftovers leftovers = each.cleanup.empty() ? Leftovers::kill : Leftovers::keep;
    for (const Words& words : each.commands) {
      problem = command(words, log, std::max(least_limit, limit_factor * each.expected), &signals_,
                        leftovers);
      if (!problem.empty()) break;
    }
    if (!each.cleanup.empty()) {
      // Not to be interrupted: it is what leaves nothing behind.
      const std::string more = command(each.cleanup, log, least_limit, nullptr, Leftovers::kill);
      if (problem.empty()) problem = more;
    }
    return problem;
  }

  std::string command(Words words, std::ofstream& log, double limit, SignalQueue* signals,
                      Leftovers leftovers) {
    words.insert(words.begin(), options_.executable);
    const ChildEnd end = run_child_to_end(words, log, limit, meter_, signals, leftovers);
    if (end.signal != 0) {
      signal_ = end.signal;
      return "it was interrupted";
    }
    if (end.timed_out) return fmt::format("it did not end within {:.0f} s and was stopped", limit);
    if (end.status != 0) {
      return end.last_error.empty() ? fmt::format("it ended with status {}", end.status)
                                    : end.last_error;
    }
    return {};
  }

  const MeasureOptions& options_;
  Meter& meter_;
  SignalQueue& signals_;
  MeasureClock::time_point start_;
  int signal_ = 0;
};

bool is_done(const Run& run) {
  std::error_code problem;
  return run.state == Run::State::done &&
         std::filesystem::file_size(run.id + ".json", problem) > 0 && !problem;
}

}  // namespace

Measured carry_out(const std::vector<Measurement>& suite, const std::vector<Run>& known,
                   const MeasureOptions& options,
                   const std::function<void(const std::vector<Run>&)>& note) {
  Measured out;
  double expected = 0;
  int count = 0;
  std::vector<bool> kept;
  for (const Measurement& each : suite) {
    Run run;
    run.id = each.id;
    run.title = each.title;
    run.command = each.command_line();
    run.problem = "it was not reached";
    const auto before = std::find_if(known.begin(), known.end(),
                                     [&](const Run& other) { return other.id == each.id; });
    kept.push_back(before != known.end() && is_done(*before));
    if (kept.back()) {
      run = *before;
    } else {
      ++count;
      if (each.why_not.empty()) expected += each.expected;
    }
    out.runs.push_back(std::move(run));
  }
  adopt_orphans();
  SignalQueue signals;
  Meter meter(options.width, expected, count);
  Conductor conductor(options, meter, signals);
  for (std::size_t i = 0; i < suite.size(); ++i) {
    if (kept[i]) continue;
    conductor.carry_out(suite[i], out.runs[i]);
    note(out.runs);
  }
  out.signal = conductor.signal();
  return out;
}

}  // namespace shoal::launch::report
