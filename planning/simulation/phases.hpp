// A collective of a group, taken apart into what its members do at each level.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <shoal/collectives/messages.hpp>
#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

/// The rounds of the members of a group; those of algorithms that look alike from every member are
/// kept once.
class RoundTable {
 public:
  RoundTable(const Algorithm& algorithm, Bytes bytes, int members, const Network& network);

  /// An all-to-all in one round.
  RoundTable(Bytes bytes, int members);

  std::size_t rounds() const noexcept { return of_first_.size(); }
  const MessageRound& round(int me, std::size_t at) const;
  /// A peer as named in round(me, ...), as number of a member.
  int peer(int me, int named) const noexcept { return alike_ ? (named + me) % members_ : named; }

 private:
  int members_;
  bool alike_;
  std::vector<MessageRound> of_first_;
  std::vector<std::vector<MessageRound>> of_others_;
};

/// Ranks `stride` apart do it, at one level of the network.
struct Phase {
  Group group;
  int level = 0;
  std::shared_ptr<const RoundTable> table;  ///< null: all meet, then take `meet_seconds`
  double meet_seconds = 0;
  double bytes = 0;       ///< of a meeting that was measured as a whole
  double link_bytes = 0;  ///< of a meeting, on the link of a rank
  double gamma = 0;  ///< seconds a combined byte
  double combines_at_most =
      1e300;  ///< bytes of a round that are combined while nothing else goes on
};

/// Takes collectives apart; the tables of alike ones are made once.
class Phases {
 public:
  explicit Phases(const Prices& prices) : prices_(prices) {}
  std::vector<Phase> of(Operation operation, double bytes, Group group);

 private:
  void add(std::vector<Phase>& phases, Operation operation, double bytes, Group group, int level);
  void add_levels(std::vector<Phase>& phases, Operation operation, double bytes, Group group,
                  const std::vector<int>& counts, std::size_t level);

  const Prices& prices_;
  std::map<std::tuple<const Algorithm*, Bytes, int, int>, std::shared_ptr<const RoundTable>> known_;
};

}  // namespace shoal::planning
