// The rounds that several algorithms are made of. Each appends to a plan what member `me` of
// `members` does.
#pragma once

#include <span>
#include <vector>

#include "plan/plan.hpp"

namespace shoal {

/// Factors of `n` in the order in which they are used, each as large as it may be up to `most`; empty
/// if n has a prime factor above `most`, or is 1.
std::vector<int> factors_of(int n, int most);

/// members − 1 rounds around a ring, after which member m has the combination of block first + m. The
/// ring goes up the members, or down.
enum class Direction { up, down };
void add_ring_reduce_scatter(Plan& plan, int members, int me, int first, Direction direction);
/// Member m starts with block first + m; members − 1 rounds later all have all.
void add_ring_all_gather(Plan& plan, int members, int me, int first, Direction direction);

/// The same in one round for each factor of `members` (radices, whose product it is): the members of a
/// group that differ in one digit give each other their parts of the blocks that they still share.
void add_split_reduce_scatter(Plan& plan, std::span<const int> radices, int me);
void add_split_all_gather(Plan& plan, std::span<const int> radices, int me);

/// All-reduce of block 0 in a round for each radix: the members of a group exchange all they have.
/// Members beyond the product of the radices hand their data to another before, and get the result
/// after; they must not be more than that product.
void add_exchange(Plan& plan, std::span<const int> radices, int members, int me);

/// Broadcast of block 0 from member `root`: each member passes it on to the next.
void add_chain(Plan& plan, int members, int me, int root);
/// The same along a binomial tree: those that have it double in each round.
void add_binomial(Plan& plan, int members, int me, int root);

}  // namespace shoal
