#include <shoal/collectives/messages.hpp>

#include <algorithm>
#include <numeric>

#include <shoal/runtime/error.hpp>

#include "algorithm.hpp"
#include "all_reduce/planned.hpp"
#include "plan/shapes.hpp"

namespace shoal {
namespace {

std::vector<MessageRound> rounds_of_plan(const Plan& plan) {
  std::vector<Index> starts(1, 0);
  for (const Index count : plan.counts) starts.push_back(starts.back() + count);
  const auto size = [&](const Leg& leg) {
    return static_cast<Bytes>(starts[static_cast<std::size_t>(leg.first + leg.blocks)] -
                              starts[static_cast<std::size_t>(leg.first)]);
  };
  std::vector<MessageRound> rounds;
  for (const Round& round : plan.rounds) {
    MessageRound& made = rounds.emplace_back();
    for (const Leg& leg : round.sends) made.sends.push_back({leg.peer, size(leg)});
    for (const Leg& leg : round.receives) {
      made.receives.push_back({leg.peer, size(leg)});
      if (round.combines) made.combined += size(leg);
    }
  }
  return rounds;
}

}  // namespace

std::vector<MessageRound> messages_of(const Algorithm& algorithm, Bytes bytes, int members, int me,
                                      const Network& network) {
  const auto count = static_cast<Index>(bytes);  // of single bytes
  const std::string_view name = algorithm.name();
  if (const auto* planned = dynamic_cast<const PlannedAllReduce*>(&algorithm)) {
    return rounds_of_plan(planned->plan(count, DType::i8, members, me, network));
  }
  Plan plan;
  plan.counts = even_counts(count, members);
  if (algorithm.operation() == Operation::reduce_scatter && name == "ring") {
    add_ring_reduce_scatter(plan, members, me, 0, Direction::up);
    return rounds_of_plan(plan);
  }
  if (algorithm.operation() == Operation::reduce_scatter && name == "direct") {
    const int radices[] = {members};
    add_split_reduce_scatter(plan, radices, me);
    return rounds_of_plan(plan);
  }
  if (algorithm.operation() == Operation::all_gather && name == "ring") {
    add_ring_all_gather(plan, members, me, 0, Direction::up);
    return rounds_of_plan(plan);
  }
  const Bytes block = bytes / static_cast<Bytes>(members);
  std::vector<MessageRound> rounds;
  if (algorithm.operation() == Operation::all_gather && name == "bruck") {
    for (int have = 1; have < members; have *= 2) {
      const auto more = static_cast<Bytes>(std::min(have, members - have));
      rounds.push_back({{{(me + members - have) % members, more * block}},
                        {{(me + have) % members, more * block}},
                        0});
    }
    return rounds;
  }
  if (algorithm.operation() == Operation::all_to_all && name == "pairwise") {
    for (int step = 1; step < members; ++step) {
      rounds.push_back(
          {{{(me + step) % members, block}}, {{(me + members - step) % members, block}}, 0});
    }
    return rounds;
  }
  if (algorithm.operation() == Operation::all_to_all && name == "direct") {
    MessageRound& all = rounds.emplace_back();
    for (int step = 1; step < members; ++step) {
      all.sends.push_back({(me + step) % members, block});
      all.receives.push_back({(me + members - step) % members, block});
    }
    return rounds;
  }
  throw Error("messages_of", std::string(name) + " does not consist of messages between equals",
              "choose another algorithm");
}

}  // namespace shoal
