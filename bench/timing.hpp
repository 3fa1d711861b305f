// How calls are timed: in turns, on all ranks at once.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <shoal/runtime/communicator.hpp>

namespace shoal::bench {

/// The middle value; of an even number the mean of the two.
double median(std::vector<double> values);

/// The value that a quarter of them is below: what a call takes where other work on the machine, which
/// only adds, disturbs up to three of four. `values` is put into another order; it must not be empty.
double lower_quartile(std::vector<double>& values);

/// The mean of the middle half. Where calls take one of two times, by chance, a median is the one or the other as
/// the chance falls; this moves with how often each came. `values` must not be empty.
double middle_mean(std::vector<double> values);

/// Seconds that calls between nodes go on before they are timed, and then. The lab's links save up
/// in a pause what they carry in 2 ms, and let it pass at once: calls that ask for a twelfth more
/// than a link carries have spent that after 24 ms. Where a call is its messages' latency more than
/// their bytes, nothing of it is spent.
constexpr double settled_bytes = 24e-3;
constexpr double settled_latency = 4e-3;

/// Which of these for calls on `comm` that keep a link busy for `wire` seconds, each message of
/// which takes `latency`; 0 on one node.
double settling_time(const Communicator& comm, double wire, double latency);

/// Median time, in seconds, of each call. The calls take turns, so that what disturbs the machine
/// disturbs all alike. At each turn a call is made `untimed` times before it is timed, so that it
/// finds the caches as a loop of its own kind leaves them and not as another call did (once is not
/// enough where data is then in the third level that was not before); then the ranks meet at a
/// barrier, and a repetition takes as long as it takes the slowest rank. Calls too short for the
/// clock are repeated within a repetition. About `budget` seconds in all, but at least `fewest`
/// repetitions of each. With `settled` the untimed calls take at least so many seconds, and the
/// timed ones as many: a link that lets a burst pass after a pause is then timed at the rate that
/// it keeps. Collective.
std::vector<double> interleaved_medians(const Communicator& comm,
                                        std::span<const std::function<void()>> calls, double budget,
                                        int fewest = 7, int untimed = 2, double settled = 0);

}  // namespace shoal::bench
