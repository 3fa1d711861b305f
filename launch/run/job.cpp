#include "job.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <deque>
#include <iterator>
#include <map>
#include <random>

#include <fmt/format.h>

#include "local_host.hpp"
#include "rank_output.hpp"
#include "reach.hpp"

namespace shoal::launch {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr Clock::time_point never = Clock::time_point::max();

// For a training's last step and checkpoint, after the first signal.
constexpr seconds patience_in_order{120};
// From the user's wish to end to SIGKILL; mpirun itself takes 1 s for its ranks.
constexpr seconds patience_to_end{10};
// From the news that the job has failed to our own hand, and from that to SIGKILL: a host that is
// gone can keep mpirun waiting for its daemon for ever.
constexpr seconds patience_after_failure{10};
constexpr seconds patience_to_give_up{3};
// What a process that outlived mpirun may still have to say.
constexpr std::chrono::milliseconds patience_for_output{500};
constexpr std::chrono::milliseconds begun_line_shown_after{300};

constexpr std::size_t starter_text_kept = 65536;
constexpr std::size_t lines_kept = 8;  // of the errors of ranks that --quiet hides

std::string new_job_id() {
  std::random_device random;
  return fmt::format("{}-{:08x}{:08x}", getpid(), random(), random());
}

std::string shown_host(const Layout& layout, int rank) {
  const std::string& name = layout.host_of(std::max(0, rank)).name;
  return name == "localhost" ? local_host_name() : name;
}

// What ranks and starter say, and where it goes.
class Screen {
 public:
  Screen(const JobLine& job, const JobOptions& options)
      : job_(job),
        options_(options),
        output_(stdout, [this](int rank) { return prefix(rank); }),
        errors_(stderr, [this](int rank) { return prefix(rank); }) {}

  void take(int rank, Stream stream, std::string_view text) {
    if (rank < 0) return starter(text);
    if (stream == Stream::errors) ranks_complained_ = true;
    if (options_.captured_output != nullptr && stream == Stream::output) {
      if (rank == 0) *options_.captured_output += text;
    } else if (!options_.quiet) {
      (stream == Stream::output ? output_ : errors_).write(rank, text);
      last_write_ = Clock::now();
    } else if (rank == 0) {
      std::FILE* file = stream == Stream::output ? stdout : stderr;
      std::fwrite(text.data(), 1, text.size(), file);
      std::fflush(file);
    } else if (stream == Stream::errors) {
      keep(rank, text);
    }
  }

  // Lines begun and not ended are shown after a moment, so that a prompt or a text that is being
  // generated is seen.
  void tick() {
    if (Clock::now() - last_write_ < begun_line_shown_after) return;
    output_.flush_begun();
    errors_.flush_begun();
  }
  bool has_begun() const { return output_.has_begun() || errors_.has_begun(); }

  // `failed`: why must be seen, whoever says it; `known`: our own message will name the rank.
  void finish(bool failed, bool known) {
    output_.finish();
    errors_.finish();
    if (!failed) return;
    for (const auto& [rank, lines] : hidden_) {
      for (const std::string& line : lines)
        std::fputs((prefix(rank) + line + '\n').c_str(), stderr);
    }
    if (!known && !ranks_complained_ && !options_.verbose)
      std::fputs(without_rules().c_str(), stderr);
    std::fflush(stderr);
  }

  const std::string& starter_text() const { return starter_text_; }
  // The starter ends the job, and has said so.
  bool failing() const {
    constexpr const char* news[] = {"MPI_ABORT was invoked", "the job has been aborted",
                                    "has lost communication with a remote daemon"};
    return std::any_of(std::begin(news), std::end(news), [&](const char* one) {
      return starter_text_.find(one) != std::string::npos;
    });
  }

 private:
  std::string prefix(int rank) const {
    if (rank >= job_.layout.ranks()) return fmt::format("[{}] ", rank);
    return fmt::format("[{}@{}] ", rank, shown_host(job_.layout, rank));
  }

  void starter(std::string_view text) {
    if (options_.verbose) std::fwrite(text.data(), 1, text.size(), stderr);
    starter_text_ += text;
    if (starter_text_.size() > starter_text_kept) {
      starter_text_.erase(starter_text_kept / 2, starter_text_.size() - starter_text_kept);
    }
  }

  void keep(int rank, std::string_view text) {
    std::deque<std::string>& lines = hidden_[rank];
    if (lines.empty()) lines.emplace_back();
    for (const char c : text) {
      if (c == '\n') {
        lines.emplace_back();
      } else {
        lines.back() += c;
      }
    }
    while (lines.size() > lines_kept) lines.pop_front();
  }

  // mpirun draws lines of dashes around what it says.
  std::string without_rules() const {
    std::string out;
    for (std::size_t at = 0; at < starter_text_.size();) {
      const std::size_t end = std::min(starter_text_.find('\n', at), starter_text_.size());
      const std::string line = starter_text_.substr(at, end - at);
      if (line.find_first_not_of("- \r") != std::string::npos) out += line + '\n';
      at = end + 1;
    }
    return out;
  }

  const JobLine& job_;
  const JobOptions& options_;
  LineWriter output_, errors_;
  Clock::time_point last_write_ = Clock::now();
  std::string starter_text_;
  bool ranks_complained_ = false;
  std::map<int, std::deque<std::string>> hidden_;
};

// Asks first, then insists, then kills: each step has its time.
class Ending {
 public:
  Ending(ChildProcess& child, bool in_order) : child_(child), in_order_(in_order) {}

  void ask() {
    ++asked_;
    if (asked_ == 1 && in_order_) {
      child_.signal(SIGUSR1);
      next_ = Clock::now() + patience_in_order;
    } else if (asked_ <= 2 && !insisted_) {
      insist();
    } else {
      child_.signal_group(SIGKILL);
    }
  }
  void insist() {
    insisted_ = true;
    child_.signal(SIGTERM);
    next_ = Clock::now() + (asked_ > 0 ? patience_to_end : patience_to_give_up);
  }
  /// The job has failed and should end by itself.
  void expect_end() {
    if (next_ == never && !insisted_) next_ = Clock::now() + patience_after_failure;
  }
  bool insisted_unasked() const { return insisted_ && asked_ == 0; }
  void tick() {
    if (Clock::now() < next_) return;
    if (insisted_) {
      child_.signal_group(SIGKILL);
      next_ = never;
    } else {
      insist();
    }
  }

 private:
  ChildProcess& child_;
  bool in_order_;
  bool insisted_ = false;
  int asked_ = 0;
  Clock::time_point next_ = never;
};

// Both of the starter's pipes, decoded.
class Feed {
 public:
  Feed(Starter starter, Screen& screen)
      : srun_(starter == Starter::srun),
        xml_([&screen](int rank, Stream stream, std::string_view text) {
          screen.take(rank, stream, text);
        }),
        labelled_{LabelDecoder(Stream::output, to(screen)),
                  LabelDecoder(Stream::errors, to(screen))},
        screen_(screen) {}

  void take(Stream stream, std::string_view text) {
    if (srun_) {
      labelled_[stream == Stream::output ? 0 : 1].feed(text);
    } else if (stream == Stream::output) {
      xml_.feed(text);
    } else {
      screen_.take(-1, stream, text);
    }
  }
  void finish() {
    xml_.finish();
    for (LabelDecoder& decoder : labelled_) decoder.finish();
  }

 private:
  static XmlDecoder::Text to(Screen& screen) {
    return [&screen](int rank, Stream stream, std::string_view text) {
      screen.take(rank, stream, text);
    };
  }

  bool srun_;
  XmlDecoder xml_;
  LabelDecoder labelled_[2];
  Screen& screen_;
};

// The starter writes what tells the ranks apart only when asked to.
Words telling_ranks_apart(Words line, Starter starter) {
  if (starter == Starter::mpirun) {
    line.insert(line.begin() + 1, "--xml");
  } else {
    line.insert(std::find(line.begin(), line.end(), "srun") + 1, "--label");
  }
  return line;
}

}  // namespace

std::string JobEnd::text() const {
  if (failure) return failure->text();
  if (lost_host) return "host " + *lost_host + " is lost: it is down, or cut off";
  if (starter_hung) {
    return "the job has failed, and its starter had to be ended: a host is cut off, most likely";
  }
  if (!began)
    return "mpirun could not start its daemons on the hosts: see shoal doctor --hosts ...";
  return status_text("a rank", status);
}

JobEnd run_job(const JobLine& job, const JobOptions& options, SignalQueue& signals) {
  const std::string id = new_job_id();
  const Variables environment{{"SHOAL_RUN_ID", id}};
  JobLine line = job;
  Words words = options.starter == Starter::mpirun ? mpirun_line(line) : srun_line(line);
  if (options.starter == Starter::mpirun && job.name_hosts) {
    words.insert(words.begin() + 1, {"-x", "SHOAL_RUN_ID"});
  }
  adopt_orphans();
  ChildProcess child(telling_ranks_apart(std::move(words), options.starter), environment);
  Screen screen(job, options);
  Feed feed(options.starter, screen);
  Ending ending(child, options.stops_in_order);
  JobEnd end;
  Clock::time_point drained_at = never;
  std::string text;
  for (;;) {
    pollfd waiting[3] = {{signals.descriptor(), POLLIN, 0},
                         {child.output().get(), POLLIN, 0},
                         {child.errors().get(), POLLIN, 0}};
    poll(waiting, 3, screen.has_begun() ? 100 : 500);
    while (const std::optional<int> signal = signals.next()) {
      if (*signal == SIGCHLD) continue;
      if (end.user_signal == 0) end.user_signal = *signal;
      ending.ask();
    }
    for (Stream stream : {Stream::output, Stream::errors}) {
      Descriptor& pipe = stream == Stream::output ? child.output() : child.errors();
      if (!pipe.is_open()) continue;
      text.clear();
      pipe.read_into(text);
      feed.take(stream, text);
    }
    screen.tick();
    if (screen.failing()) ending.expect_end();
    ending.tick();
    if (const std::optional<int> status = child.status()) {
      end.status = *status;
      if (!child.output().is_open() && !child.errors().is_open()) break;
      if (drained_at == never) drained_at = Clock::now() + patience_for_output;
      if (Clock::now() >= drained_at) break;
    }
  }
  feed.finish();
  const int orphans = kill_orphans();
  if (orphans > 0 && options.verbose) {
    fmt::print(stderr, "shoal run: ended {} processes that were left\n", orphans);
  }
  if (end.status != 0) {
    std::vector<Host> hosts;
    if (job.name_hosts && options.starter == Starter::mpirun) {
      for (const Layout::Share& share : job.layout.shares) hosts.push_back(share.host);
    }
    sweep_hosts(hosts, job.rsh_agent, id);
    end.failure = find_failure(screen.starter_text());
    if (end.failure && end.failure->host.empty() && end.failure->rank < job.layout.ranks()) {
      end.failure->host = shown_host(job.layout, end.failure->rank);
    }
    end.lost_host = find_lost_host(screen.starter_text());
    end.starter_hung = ending.insisted_unasked();
    end.began = !never_began(screen.starter_text());
    // Its own status then tells of our signal.
    if (end.starter_hung) end.status = end.failure ? end.failure->status : 1;
    if (end.failure && options.starter == Starter::srun) end.status = end.failure->status;
    if (end.user_signal != 0) end.status = 128 + end.user_signal;
  }
  // "Primary job terminated normally" says no more than the status does.
  const bool known = end.failure || end.lost_host || end.starter_hung ||
                     screen.starter_text().find("Primary job ") != std::string::npos;
  screen.finish(end.status != 0 && end.user_signal == 0, known);
  return end;
}

}  // namespace shoal::launch
