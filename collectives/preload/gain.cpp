// Measured over four hosts of one and of two ranks, and two of two, that share two cores (EPYC, Zen
// 5), on links of 1 Gbit/s, with 8 B to 4 MiB: `preload_bench` in a lab. What is left to MPI came
// within 5 % of it, or was slower. There the wire or the processors are what counts, and MPI has as
// little to do with either.
#include "preload/gain.hpp"

namespace shoal::preload {
namespace {

// Bytes as in Call::bytes(): from `first` up to, but not with, `end` MPI is as quick.
struct MpisOwn {
  Bytes first, end;
};

constexpr Bytes kib = 1 << 10;
constexpr MpisOwn none{0, 0};

MpisOwn where_mpi_is_as_quick(Operation operation, bool alone) noexcept {
  switch (operation) {
    case Operation::all_reduce:
      return alone ? MpisOwn{16 * kib, 512 * kib} : MpisOwn{32 * kib, 512 * kib};
    case Operation::reduce_scatter:
      return alone ? MpisOwn{512, 1024 * kib} : none;
    case Operation::all_gather:
      return alone ? MpisOwn{0, 512 * kib} : none;
    case Operation::broadcast:
      return alone ? MpisOwn{256, 128 * kib} : none;
    case Operation::all_to_all:
      return alone ? MpisOwn{2 * kib, 512 * kib} : MpisOwn{32 * kib, 512 * kib};
    case Operation::barrier:
      return none;
  }
  return none;
}

}  // namespace

bool gains(const Call& call, bool alone) noexcept {
  if (call.operation == Operation::barrier) return true;
  const MpisOwn own = where_mpi_is_as_quick(call.operation, alone);
  return call.bytes() > 0 && (call.bytes() < own.first || call.bytes() >= own.end);
}

// To hand a call to a thread takes as long as a short one. From here on what counts is that it goes on
// while the program computes, which MPI's does not. (`preload_bench iallreduce_beside`)
bool gains_beside(const Call& call, bool alone) noexcept {
  return gains(call, alone) && call.bytes() >= (alone ? 512 * kib : 1024 * kib);
}

}  // namespace shoal::preload
