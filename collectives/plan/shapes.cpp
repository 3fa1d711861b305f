#include "plan/shapes.hpp"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace shoal {
namespace {

int product(std::span<const int> radices) {
  return std::accumulate(radices.begin(), radices.end(), 1, std::multiplies<>());
}

// The members of a ring, seen from one that stands at `place` of it.
struct Ring {
  int members;
  int me;
  Direction direction;

  int at(int distance) const {  // the member so far along the ring
    const int step = direction == Direction::up ? distance : -distance;
    return ((me + step) % members + members) % members;
  }
};

}  // namespace

std::vector<int> factors_of(int n, int most) {
  std::vector<int> factors;
  while (n > 1) {
    int factor = std::min(n, most);
    while (factor > 1 && n % factor != 0) --factor;
    if (factor <= 1) return {};
    factors.push_back(factor);
    n /= factor;
  }
  return factors;
}

std::vector<int> prime_factors(int n) {
  std::vector<int> factors;
  for (int factor = 2; n > 1; ++factor) {
    for (; n % factor == 0; n /= factor) factors.push_back(factor);
  }
  return factors;
}

void add_ring_reduce_scatter(Plan& plan, int members, int me, int first, Direction direction) {
  // In step s a member passes on what it has gathered of the block that ends at the member s + 1
  // before it, so that each block ends its way around at its owner.
  plan.around = true;
  const Ring ring{members, me, direction};
  for (int step = 0; step < members - 1; ++step) {
    Round& round = plan.rounds.emplace_back();
    round.sends = {{ring.at(1), first + ring.at(-step - 1), 1}};
    round.receives = {{ring.at(-1), first + ring.at(-step - 2), 1}};
    round.combines = true;
  }
}

void add_ring_all_gather(Plan& plan, int members, int me, int first, Direction direction) {
  plan.around = true;
  const Ring ring{members, me, direction};
  for (int step = 0; step < members - 1; ++step) {
    Round& round = plan.rounds.emplace_back();
    round.sends = {{ring.at(1), first + ring.at(-step), 1}};
    round.receives = {{ring.at(-1), first + ring.at(-step - 1), 1}};
  }
}

void add_split_reduce_scatter(Plan& plan, std::span<const int> radices, int me, int sharing) {
  int first = 0;
  int blocks = product(radices);
  for (const int radix : radices) {
    const int part = blocks / radix;  // in blocks, and in members
    const int digit = me / sharing / part % radix;
    Round& round = plan.rounds.emplace_back();
    round.combines = true;
    round.before = digit;
    // The next one first, so that not all send to the same member at once.
    for (int i = 1; i < radix; ++i) {
      const int other = (digit + i) % radix;
      round.sends.push_back({me + (other - digit) * part * sharing, first + other * part, part});
    }
    for (int other = 0; other < radix; ++other) {
      if (other == digit) continue;
      round.receives.push_back({me + (other - digit) * part * sharing, first + digit * part, part});
    }
    first += digit * part;
    blocks = part;
  }
}

void add_split_all_gather(Plan& plan, std::span<const int> radices, int me, int sharing) {
  int have = 1;
  for (std::size_t i = radices.size(); i > 0; --i) {
    const int radix = radices[i - 1];
    const int own = me / sharing / have * have;
    const int digit = me / sharing / have % radix;
    Round& round = plan.rounds.emplace_back();
    for (int k = 1; k < radix; ++k) {
      const int other = (digit + k) % radix;
      const int distance = (other - digit) * have;  // in blocks
      const int peer = me + distance * sharing;
      round.sends.push_back({peer, own, have});
      round.receives.push_back({peer, own + distance, have});
    }
    have *= radix;
  }
}

void add_exchange_of(Plan& plan, std::span<const int> radices, int me, int block) {
  int distance = 1;
  for (const int radix : radices) {
    const int digit = me / distance % radix;
    Round& round = plan.rounds.emplace_back();
    round.combines = true;
    // All members of the group combine in the same order: min(+0, −0), sums of NaNs and the
    // rounding of sums depend on it, and all must end with the same bits.
    round.before = digit;
    for (int i = 1; i < radix; ++i) {
      round.sends.push_back({me + ((digit + i) % radix - digit) * distance, block, 1});
    }
    for (int other = 0; other < radix; ++other) {
      if (other != digit) round.receives.push_back({me + (other - digit) * distance, block, 1});
    }
    distance *= radix;
  }
}

std::vector<int> quickest_radices(int members, double alpha, double overhead, double* seconds) {
  const auto time_of = [&](const std::vector<int>& radices) {
    double time = 0;
    for (const int radix : radices) time += alpha + (radix - 2) * overhead;
    return time;
  };
  constexpr int most_radix = 8;
  std::vector<int> best{members};
  for (int most = 2; most <= most_radix; ++most) {
    std::vector<int> radices = factors_of(members, most);
    if (!radices.empty() && time_of(radices) < time_of(best)) best = std::move(radices);
  }
  if (seconds != nullptr) *seconds = time_of(best);
  return best;
}

void add_exchange(Plan& plan, std::span<const int> radices, int members, int me) {
  const int core = product(radices);
  const bool has_guest = me + core < members;
  if (me >= core) {
    plan.rounds.emplace_back().sends = {{me - core, 0, 1}};
    plan.rounds.resize(plan.rounds.size() + radices.size());
    plan.rounds.emplace_back().receives = {{me - core, 0, 1}};
    return;
  }
  if (core < members) {
    Round& round = plan.rounds.emplace_back();
    if (has_guest) round.receives = {{me + core, 0, 1}};
    round.combines = true;
    round.before = 0;
  }
  add_exchange_of(plan, radices, me, 0);
  if (core < members) {
    Round& round = plan.rounds.emplace_back();
    if (has_guest) round.sends = {{me + core, 0, 1}};
  }
}

void add_chain(Plan& plan, int members, int me, int root) {
  const int place = (me - root + members) % members;
  Round& from = plan.rounds.emplace_back();
  if (place > 0) from.receives = {{(me + members - 1) % members, 0, 1}};
  Round& to = plan.rounds.emplace_back();
  if (place + 1 < members) to.sends = {{(me + 1) % members, 0, 1}};
}

void add_binomial(Plan& plan, int members, int me, int root) {
  // Counted from the root, a member receives from the place without its highest set bit, and feeds
  // the places that add a higher bit to its own.
  const int place = (me - root + members) % members;
  for (int bit = 1; bit < members; bit *= 2) {
    Round& round = plan.rounds.emplace_back();
    if (place < bit && place + bit < members) {
      round.sends = {{(me + bit) % members, 0, 1}};
    } else if (place >= bit && place < 2 * bit) {
      round.receives = {{(me - bit + members) % members, 0, 1}};
    }
  }
}

}  // namespace shoal
