#include <algorithm>
#include <numeric>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/placement.hpp>

#include "algorithm.hpp"
#include "reduce/reduce.hpp"
#include "transport.hpp"

namespace shoal {

std::vector<Index> starts_of(std::span<const Index> counts) {
  std::vector<Index> starts(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), starts.begin(), Index{0});
  return starts;
}

std::vector<Index> even_counts(Index count, int ranks) {
  std::vector<Index> counts;
  for (Rank rank = 0; rank < ranks; ++rank) counts.push_back(block_of(count, ranks, rank).size);
  return counts;
}

int power_of_two_below(int n) noexcept {
  int power = 1;
  while (power <= n / 2) power *= 2;
  return power;
}

int log2_ceil(int n) noexcept {
  int log = 0;
  while ((1 << log) < n) ++log;
  return log;
}

void ring_reduce_scatter(const Call& call, std::byte* data, std::span<const Index> starts,
                         std::span<const Index> counts) {
  const Communicator& comm = *call.comm;
  const int ranks = comm.size();
  const Bytes element = size_of(call.type);
  const Rank next = (comm.rank() + 1) % ranks;
  const Rank previous = (comm.rank() + ranks - 1) % ranks;
  Index longest = 0;
  for (const Index count : counts) longest = std::max(longest, count);
  const Buffer<std::byte> incoming(static_cast<Index>(static_cast<Bytes>(longest) * element));
  // In step s a rank passes on what it has gathered of block (rank − s − 1), so that block r ends
  // its way around at rank r.
  for (int step = 0; step < ranks - 1; ++step) {
    const auto out = static_cast<std::size_t>((comm.rank() + 2 * ranks - step - 1) % ranks);
    const auto in = static_cast<std::size_t>((comm.rank() + 2 * ranks - step - 2) % ranks);
    Messages messages(comm, name_of(call.operation).data());
    messages.receive(incoming.data(), static_cast<Bytes>(counts[in]) * element, previous);
    messages.send(data + static_cast<Bytes>(starts[out]) * element,
                  static_cast<Bytes>(counts[out]) * element, next);
    messages.wait();
    reduce_into(data + static_cast<Bytes>(starts[in]) * element, incoming.data(), counts[in],
                call.type, call.op);
  }
  const auto mine = static_cast<std::size_t>(comm.rank());
  finish_average(data + static_cast<Bytes>(starts[mine]) * element, counts[mine], call.type,
                 call.op, ranks);
}

void ring_all_gather(const Call& call, std::byte* data, std::span<const Index> starts,
                     std::span<const Index> counts) {
  const Communicator& comm = *call.comm;
  const int ranks = comm.size();
  const Bytes element = size_of(call.type);
  const Rank next = (comm.rank() + 1) % ranks;
  const Rank previous = (comm.rank() + ranks - 1) % ranks;
  for (int step = 0; step < ranks - 1; ++step) {
    const auto out = static_cast<std::size_t>((comm.rank() + ranks - step) % ranks);
    const auto in = static_cast<std::size_t>((comm.rank() + 2 * ranks - step - 1) % ranks);
    Messages messages(comm, name_of(call.operation).data());
    messages.receive(data + static_cast<Bytes>(starts[in]) * element,
                     static_cast<Bytes>(counts[in]) * element, previous);
    messages.send(data + static_cast<Bytes>(starts[out]) * element,
                  static_cast<Bytes>(counts[out]) * element, next);
    messages.wait();
  }
}

}  // namespace shoal
