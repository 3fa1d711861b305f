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

/// Prime factors of `n`, smallest first; none of 1.
std::vector<int> prime_factors(int n);

/// members − 1 rounds around a ring, after which member m has the combination of block first + m. The
/// ring goes up the members, or down.
enum class Direction { up, down };
void add_ring_reduce_scatter(Plan& plan, int members, int me, int first, Direction direction);
/// Member m starts with block first + m; members − 1 rounds later all have all.
void add_ring_all_gather(Plan& plan, int members, int me, int first, Direction direction);

/// The same in one round for each of `radices`, whose product is the number of blocks: the members
/// of a group that differ in one digit give each other their parts of the blocks that they still
/// share. Block b ends at the `sharing` members from b·sharing on, at each the combination over the
/// members with the same place among these.
void add_split_reduce_scatter(Plan& plan, std::span<const int> radices, int me, int sharing = 1);
void add_split_all_gather(Plan& plan, std::span<const int> radices, int me, int sharing = 1);
/// Of the time that their bytes take of the wire: with every step the data takes another
/// connection, which TCP fills only after a while (measured: a twentieth of the time and more is
/// idle).
constexpr double split_idle = 1.05;

/// All-reduce of block 0 in a round for each radix: the members of a group exchange all they have.
/// Members beyond the product of the radices hand their data to another before, and get the result
/// after; they must not be more than that product.
void add_exchange(Plan& plan, std::span<const int> radices, int members, int me);
/// The same of one block, among as many members next to each other as the product of the radices
/// says.
void add_exchange_of(Plan& plan, std::span<const int> radices, int me, int block);

/// The radices up to 8, or `members` alone, with which the two take the least time for short
/// messages: a round of radix r takes alpha + (r − 2)·overhead. `seconds`, if given: how long.
std::vector<int> quickest_radices(int members, double alpha, double overhead,
                                  double* seconds = nullptr);

/// Broadcast of block 0 from member `root`: each member passes it on to the next.
void add_chain(Plan& plan, int members, int me, int root);
/// The same along a binomial tree: those that have it double in each round.
void add_binomial(Plan& plan, int members, int me, int root);

}  // namespace shoal
