// Small measurements of a host and of a link, to be run inside.
#pragma once

#include <string>

#include <shoal/runtime/units.hpp>

#include "descriptor.hpp"

namespace shoal::launch::lab {

/// Arithmetic of one thread: units of work a second of the time that the thread computed. What a
/// core does, whoever else uses the machine.
double core_rate(Seconds duration);
/// Units of work a second of the clock on the wall, by so many threads at once, begun at `start`
/// (seconds of the steady clock).
double host_rate(int threads, double start, Seconds duration);
/// The steady clock, the same in all processes of the machine.
double steady_now();

/// One end of a link, as seen from there.
struct LinkResult {
  double bits_per_s = 0;  ///< arriving, while as much goes out as can
  double round_trip = 0;  ///< seconds, of one byte; 0 at the end that answers
};

/// How long to watch a link: first until its bursts are spent, then to measure.
struct LinkTimes {
  Seconds skip{0.1};
  Seconds measure{0.25};
};

/// A listening socket on any port of this host; `port` becomes its number.
Descriptor listen_on(const std::string& address, int& port);
/// Takes the calls of link_call() on such a socket, and measures what arrives.
LinkResult link_answer(int listener, const LinkTimes& times);
/// Calls the other end: first bytes to and fro, then as much as goes both ways at once.
LinkResult link_call(const std::string& address, int port, const LinkTimes& times);

}  // namespace shoal::launch::lab
