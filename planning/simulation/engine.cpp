// Events in the order of time: a rank goes on, or a message has come.
#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>
#include <random>

#include <fmt/format.h>
#include <shoal/planning/simulate.hpp>
#include <shoal/runtime/error.hpp>

#include "simulation/links.hpp"
#include "simulation/pace.hpp"
#include "simulation/phases.hpp"
#include "simulation/program.hpp"

namespace shoal::planning {
namespace {

struct Event {
  double time;
  std::uint64_t order;  // of equal times, the one made first
  std::int32_t stream;
  std::int32_t phase;  // a message: of which phase of the stream; −1: the stream goes on
  std::int32_t round;  // of that phase; of a message between stages: −1 backward, 1 onward, 2 rows

  bool operator>(const Event& other) const noexcept {
    return time != other.time ? time > other.time : order > other.order;
  }
};

constexpr std::int32_t goes_on = -1, between_stages = -2, sends_more = -3;

constexpr double no_computation = -1;

// What a rank does one after the other: its computation, or its background.
struct Stream {
  std::size_t next = 0;   // action of the program
  std::size_t phase = 0;  // of the collective
  std::size_t round = 0;
  std::size_t sent = 0;   // messages of the round
  bool in_round = false;  // sends, and waits for what it receives
  bool waits = false;     // for a message between stages, or for the background
  std::int32_t phases_done = 0;
  // Messages that have come, by phase from phases_done on, and round.
  std::deque<std::vector<std::uint16_t>> come;
  int onward = 0, backward = 0;     // messages of neighbouring stages that have come
  int rows = 0;                     // and rows of the embedding
  std::vector<std::size_t> handed;  // actions for the background
  std::size_t taken = 0;
  double began = 0;
  double computed = 0;
  // What takes a time by itself: how much of it is left at which moment, and what it goes on at.
  std::uint64_t awaited = 0;  // the event at its end
  double left = 0, since = 0, speed = 1;
  double streams = no_computation;  // share of a computation that is no product
  bool works = false;
  bool idle = false;  // waits for another stage
};

class Engine {
 public:
  Engine(const Model& model, const Software& software, const Prices& prices,
         const Workload& workload, const Layout& layout, const Disturbance& disturbance, int traced)
      : cluster_(prices.cluster()),
        layout_(layout),
        phases_(prices),
        programs_(make_programs(model, software, prices, workload, layout)),
        ranks_(layout.ranks()),
        traced_(std::min(traced, ranks_)),
        streams_(2 * static_cast<std::size_t>(ranks_)),
        slow_(static_cast<std::size_t>(ranks_), 1),
        jitter_(disturbance.jitter),
        random_(disturbance.seed),
        pace_(software, cluster_, layout),
        links_(cluster_, ranks_, burst_at_start(model, software, prices, workload, layout)) {
    for (const Program& program : programs_) {
      auto& list = of_actions_.emplace_back();
      for (const Action& action : program) {
        list.push_back(phases_of(action));
      }
    }
    const auto check = [&](const std::pair<int, double>& each, const char* what) {
      if (each.first < 0 || each.first >= ranks_ || !(each.second >= 1 && each.second <= 1e6)) {
        throw UsageError("simulate",
                         fmt::format("{} {}={}: ranks go from 0 to {}, and factors from "
                                     "1 to 1e6",
                                     what, each.first, each.second, ranks_ - 1),
                         "name another");
      }
    };
    for (const auto& each : disturbance.slow_ranks) {
      check(each, "slow rank");
      slow_[static_cast<std::size_t>(each.first)] = each.second;
    }
    for (const auto& each : disturbance.slow_links) {
      check(each, "slow link");
      links_.slow_down(each.first, each.second);
    }
  }

  Simulated run() {
    for (int rank = 0; rank < ranks_; ++rank) go_on(rank, 0);
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      ++out_.events;
      if (event.phase == goes_on) {
        if (at(event.stream).awaited != event.order) continue;  // it goes on at another time by now
        at(event.stream).works = false;
        resume(event.stream, event.time);
      } else if (event.phase == sends_more) {
        send_more(event.stream, event.time);
      } else if (event.phase == between_stages) {
        Stream& stream = at(event.stream);
        (event.round == 2 ? stream.rows : event.round > 0 ? stream.onward : stream.backward) += 1;
        if (stream.waits) {
          stream.waits = false;
          if (stream.idle) set_at_work(1, event.time);
          stream.idle = false;
          resume(event.stream, event.time);
        }
      } else {
        came(event);
      }
    }
    for (int rank = 0; rank < ranks_; ++rank) {
      if (at(rank).next != program_of(rank).size()) {
        throw Error("simulate",
                    fmt::format("rank {} stopped at action {} of {}", rank, at(rank).next,
                                program_of(rank).size()),
                    "report this");
      }
      out_.computing = std::max(out_.computing, at(rank).computed);
    }
    return std::move(out_);
  }

 private:
  Stream& at(int stream) { return streams_[static_cast<std::size_t>(stream)]; }
  bool is_background(int stream) const { return stream >= ranks_; }
  int rank_of(int stream) const { return stream % ranks_; }
  std::size_t stage_of(int rank) const {
    return static_cast<std::size_t>(rank / (layout_.dp * layout_.tp));
  }
  const Program& program_of(int rank) const { return programs_[stage_of(rank)]; }
  static int member(int rank, Group group) { return rank / group.stride % group.size; }

  std::vector<Phase> phases_of(const Action& action) {
    if (action.kind == Action::Kind::collective) {
      return phases_.of(action.operation, action.bytes, action.group);
    }
    if (action.kind != Action::Kind::meet) return {};
    Phase phase;
    phase.group = action.group;
    phase.meet_seconds = action.seconds;
    return {phase};
  }

  void push(double time, int stream, std::int32_t phase, std::int32_t round) {
    events_.push({time, order_++, stream, phase, round});
  }
  void go_on(int stream, double time) {
    at(stream).awaited = order_;
    push(time, stream, goes_on, 0);
  }

  // Goes on after so many seconds of work, which take longer while the other stream of the rank is at work:
  // a computation beside an exchange, and an exchange beside a computation, as far as the profile says so.
  void work(int stream, double seconds, double now, double streams = no_computation) {
    Stream& s = at(stream);
    s.works = true;
    s.streams = streams;
    s.left = seconds;
    s.since = now;
    s.speed = speed_of(stream);
    go_on(stream, now + s.left / s.speed);
  }
  // The other stream of the rank has begun or ended something.
  void change_speed(int stream, double now) {
    Stream& s = at(stream);
    if (!s.works) return;
    const double speed = speed_of(stream);
    if (speed == s.speed) return;
    s.left = std::max(0.0, s.left - (now - s.since) * s.speed);
    s.since = now;
    s.speed = speed;
    go_on(stream, now + s.left / s.speed);
  }
  double speed_of(int stream) {
    const int rank = rank_of(stream);
    const Level* const exchange = exchange_beside(rank);
    if (!is_background(stream)) {
      const double streams = at(stream).streams;
      return streams == no_computation ? pace_.of_waiting(exchange)
                                       : pace_.of_computation(streams, exchange);
    }
    const Stream& main = at(rank);
    const bool computes = !main.waits && main.next < program_of(rank).size();
    return exchange == nullptr ? 1 : pace_.of_exchange(*exchange, computes);
  }
  // A rank begins or ends to wait for another stage: what it does not use of memory and cores the
  // others have.
  void set_at_work(int more, double now) {
    if (!pace_.leaves_room()) return;
    pace_.change_at_work(more);
    for (int rank = 0; rank < ranks_; ++rank) change_speed(rank, now);
  }
  // The outermost level that the rank's background is busy with; null if it has nothing to do.
  const Level* exchange_beside(int rank) {
    const Stream& background = at(rank + ranks_);
    if (background.taken >= background.handed.size()) return nullptr;
    const std::vector<Phase>& phases = of_actions_[stage_of(rank)][background.handed[background.taken]];
    int level = -1;
    for (const Phase& phase : phases) level = std::max(level, phase.level);
    return level < 0 ? nullptr : &cluster_.levels[static_cast<std::size_t>(level)];
  }

  void note(int stream, const char* name, double begin, double end) {
    const int rank = rank_of(stream);
    out_.seconds = std::max(out_.seconds, end);
    if (rank < traced_ && end > begin) {
      out_.spans.push_back({rank, is_background(stream), name, begin, end - begin});
    }
  }

  // The action a stream is at; nullptr if it has none.
  const Action* action_of(int stream) {
    const Program& program = program_of(rank_of(stream));
    Stream& s = at(stream);
    if (is_background(stream)) {
      if (s.taken == s.handed.size()) return nullptr;
      s.next = s.handed[s.taken];
    }
    return s.next < program.size() ? &program[s.next] : nullptr;
  }

  void finish_action(int stream, double now) {
    Stream& s = at(stream);
    if (is_background(stream)) {
      ++s.taken;
      if (s.taken == s.handed.size()) change_speed(rank_of(stream), now);
      Stream& main = at(rank_of(stream));
      const Action* waiting = main.waits ? action_of(rank_of(stream)) : nullptr;
      if (waiting != nullptr && waiting->kind == Action::Kind::join && s.taken == s.handed.size()) {
        main.waits = false;
        pending_.push_back(rank_of(stream));
      }
    } else {
      ++s.next;
    }
  }

  // Does what can be done now.
  void resume(int stream, double now) {
    advance(stream, now);
    while (!pending_.empty()) {
      const int other = pending_.back();
      pending_.pop_back();
      advance(other, now);
    }
  }

  void advance(int stream, double now) {
    Stream& s = at(stream);
    if (s.in_round) return;  // a message will wake it
    for (;;) {
      const Action* action = action_of(stream);
      if (action == nullptr) return;
      switch (action->kind) {
        case Action::Kind::compute: {
          const double seconds = disturbed(action->seconds, rank_of(stream));
          s.computed += seconds;
          const double streams = action->seconds > 0 ? action->streams / action->seconds : 0;
          const char* const name = action->name;
          finish_action(stream, now);
          work(stream, seconds, now, streams);
          return note(stream, name, now, now + seconds / s.speed);
        }
        case Action::Kind::collective:
        case Action::Kind::meet:
          if (!collective(stream, *action, now)) return;
          break;
        case Action::Kind::send_rows:
        case Action::Kind::send: {
          const int to = stream + action->distance;
          const double sent = send_to_stage(stream, to, action->bytes, now + action->seconds,
                                            action->kind == Action::Kind::send_rows);
          if (action->kind == Action::Kind::send_rows) {
            finish_action(stream, now);  // they go beside what follows
            break;
          }
          note(stream, action->name, now, sent);
          finish_action(stream, now);
          return go_on(stream, sent);
        }
        case Action::Kind::receive_rows:
        case Action::Kind::receive: {
          int& come = action->kind == Action::Kind::receive_rows ? s.rows
                      : action->distance > 0                     ? s.onward
                                                                 : s.backward;
          if (come == 0) {
            if (!s.waits) s.began = now;
            s.waits = true;
            if (!s.idle) set_at_work(-1, now);
            s.idle = true;
            return;
          }
          --come;
          if (s.began > 0) note(stream, action->name, s.began, now);
          s.began = 0;
          finish_action(stream, now);
          break;
        }
        case Action::Kind::launch: {
          Stream& background = at(stream + ranks_);
          const bool idle = background.taken == background.handed.size();
          background.handed.push_back(s.next + 1);
          s.next += 2;
          if (idle) pending_.push_back(stream + ranks_);
          break;
        }
        case Action::Kind::join: {
          const Stream& background = at(stream + ranks_);
          if (background.taken < background.handed.size()) {
            if (!s.waits) s.began = now;
            s.waits = true;
            change_speed(stream + ranks_, now);
            return;
          }
          if (s.began > 0) note(stream, action->name, s.began, now);
          s.began = 0;
          finish_action(stream, now);
          break;
        }
      }
    }
  }

  // True if the collective is done; else it goes on with an event.
  bool collective(int stream, const Action& action, double now) {
    Stream& s = at(stream);
    const std::vector<Phase>& phases = of_actions_[stage_of(rank_of(stream))][s.next];
    if (s.phase == 0 && s.round == 0 && !s.in_round) s.began = now;
    while (s.phase < phases.size()) {
      const Phase& phase = phases[s.phase];
      const std::size_t rounds = phase.table ? phase.table->rounds() : 1;
      if (s.round < rounds) {
        if (s.come.empty()) s.come.emplace_back();
        if (s.come.front().size() < rounds) s.come.front().resize(rounds);
        s.sent = 0;
        s.in_round = true;
        const double sent = phase.table ? send_next(stream, phase, now) : meet(stream, phase, now);
        if (phase.table && expected(stream, phase) == 0) {
          // Only sends: it goes on when they are on their way.
          s.in_round = false;
          ++s.round;
          go_on(stream, sent);
          return false;
        }
        if (!has_all(stream, phase)) return false;
        const double wait = finish_round(stream, phase, now);
        if (wait > 0) {
          work(stream, wait, now);
          return false;
        }
        continue;
      }
      s.round = 0;
      ++s.phase;
      ++s.phases_done;
      if (!s.come.empty()) s.come.pop_front();
    }
    s.phase = 0;
    note(stream, action.name, s.began, now);
    s.began = 0;
    finish_action(stream, now);
    return true;
  }

  std::size_t expected(int stream, const Phase& phase) {
    if (!phase.table) return static_cast<std::size_t>(phase.group.size - 1);
    return phase.table->round(member(rank_of(stream), phase.group), at(stream).round)
        .receives.size();
  }
  bool has_all(int stream, const Phase& phase) {
    Stream& s = at(stream);
    if (phase.table) {
      const int me = member(rank_of(stream), phase.group);
      if (s.sent < phase.table->round(me, s.round).sends.size()) return false;
    }
    return s.come.front()[s.round] >= expected(stream, phase);
  }
  // Seconds until the next round can begin.
  double finish_round(int stream, const Phase& phase, double now) {
    Stream& s = at(stream);
    double wait = links_.meeting_seconds(
        rank_of(stream), phase, pace_.exchange_seconds(phase.meet_seconds, phase.bytes, phase.level), now);
    if (phase.table) {
      const MessageRound& round = phase.table->round(member(rank_of(stream), phase.group), s.round);
      wait = phase.gamma * std::min(static_cast<double>(round.combined), phase.combines_at_most);
    }
    s.in_round = false;
    ++s.round;
    return wait;
  }

  void came(const Event& event) {
    Stream& s = at(event.stream);
    const auto ahead = static_cast<std::size_t>(event.phase - s.phases_done);
    while (s.come.size() <= ahead) s.come.emplace_back();
    std::vector<std::uint16_t>& rounds = s.come[ahead];
    const auto round = static_cast<std::size_t>(event.round);
    if (rounds.size() <= round) rounds.resize(round + 1);
    ++rounds[round];
    if (ahead != 0 || !s.in_round || s.round != round) return;
    leave_round(event.stream, event.time);
  }

  // Goes on if nothing is missing.
  void leave_round(int stream, double now) {
    const Stream& s = at(stream);
    const Phase& phase = of_actions_[stage_of(rank_of(stream))][s.next][s.phase];
    if (!has_all(stream, phase)) return;
    const double wait = finish_round(stream, phase, now);
    if (wait > 0) return work(stream, wait, now);
    resume(stream, now);
  }

  void send_more(int stream, double now) {
    const Stream& s = at(stream);
    const Phase& phase = of_actions_[stage_of(rank_of(stream))][s.next][s.phase];
    send_next(stream, phase, now);
    leave_round(stream, now);
  }

  // One message of the round; the next follows when this one is on its way, so that links are taken
  // in the order of time. Until when the sender's link is taken.
  double send_next(int stream, const Phase& phase, double now) {
    Stream& s = at(stream);
    const int rank = rank_of(stream);
    const int me = member(rank, phase.group);
    const MessageRound& round = phase.table->round(me, s.round);
    if (s.sent == round.sends.size()) return now;
    const MessageTo& message = round.sends[s.sent++];
    const int first = rank - me * phase.group.stride;
    const int to = first + phase.table->peer(me, message.peer) * phase.group.stride;
    ++out_.messages;
    const auto [gone, there] = links_.transmit(rank, to, static_cast<std::size_t>(phase.level),
                                               static_cast<double>(message.bytes), now);
    push(there, is_background(stream) ? to + ranks_ : to, s.phases_done,
         static_cast<std::int32_t>(s.round));
    if (s.sent < round.sends.size()) {
      const double overhead = cluster_.levels[static_cast<std::size_t>(phase.level)].overhead;
      push(std::max(gone, now + overhead), stream, sends_more, 0);
    }
    return gone;
  }

  // Tells the others that it is there.
  double meet(int stream, const Phase& phase, double now) {
    const int rank = rank_of(stream);
    const int first = rank - member(rank, phase.group) * phase.group.stride;
    for (int i = 0; i < phase.group.size; ++i) {
      const int to = first + i * phase.group.stride;
      if (to == rank) continue;
      push(now, is_background(stream) ? to + ranks_ : to, at(stream).phases_done, 0);
    }
    return now;
  }

  double send_to_stage(int from, int to, double bytes, double ready, bool rows) {
    ++out_.messages;
    const auto [gone, there] =
        links_.transmit(from, to, links_.level_between(from, to), bytes, ready);
    push(there, to, between_stages, rows ? 2 : to > from ? 1 : -1);
    return gone;
  }

  double disturbed(double seconds, int rank) {
    seconds *= slow_[static_cast<std::size_t>(rank)];
    if (jitter_ > 0) seconds *= 1 + jitter_ * std::abs(normal_(random_));
    return seconds;
  }

  const Cluster& cluster_;
  const Layout layout_;
  Phases phases_;
  const std::vector<Program> programs_;
  const int ranks_, traced_;
  std::vector<std::vector<std::vector<Phase>>> of_actions_;  // by stage and action
  std::vector<Stream> streams_;  // of the ranks, then of their backgrounds
  std::vector<double> slow_;
  const double jitter_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t order_ = 0;
  std::vector<int> pending_;  // streams that another has set going
  Pace pace_;
  SimulatedLinks links_;
  Simulated out_;
};

}  // namespace

std::string why_no_simulation(const Workload& workload, const Layout& layout) {
  if (layout.interleave > 1) return "interleaved stages are not simulated";
  if (layout.zero > 1) return "ZeRO is simulated up to 1";
  if (workload.kind == Workload::Kind::decode && layout.pp > 1) {
    return "generating is simulated for one stage";
  }
  constexpr int most = 1 << 17;
  if (layout.ranks() > most) return fmt::format("more than {} ranks", most);
  return {};
}

Simulated simulate(const Model& model, const Software& software, const Prices& prices,
                   const Workload& workload, const Layout& layout, const Disturbance& disturbance,
                   int traced) {
  check(workload, model);
  std::string why = why_no_simulation(workload, layout);
  if (why.empty()) {
    why = estimate(model, software, prices, workload, layout).why_not;
  }
  if (!why.empty()) {
    throw UsageError("simulate", layout.text() + ": " + why, "choose another layout");
  }
  return Engine(model, software, prices, workload, layout, disturbance, traced).run();
}

}  // namespace shoal::planning
