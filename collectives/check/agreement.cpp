#include "check/agreement.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/wait.hpp>

#include "exact/exact.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

// What a rank says of its call to one other.
struct Claim {
  std::uint64_t sequence = 0;
  std::int64_t count = 0;
  std::uint64_t layout = 0;     // hash of the counts by rank
  std::uint64_t algorithm = 0;  // hash of its name
  std::int64_t to_you = 0;      // all_to_all: elements
  std::int64_t from_you = 0;
  std::int32_t root = 0;
  std::uint8_t operation = 0;
  std::uint8_t type = 0;
  std::uint8_t op = 0;
  std::uint8_t purpose = 0;
  std::uint64_t variant = 0;
};

// FNV-1a, 64 bits.
template <class Range>
std::uint64_t hash_of(const Range& values) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const auto value : values)
    hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x100000001b3u;
  return hash;
}

// Every rank's claim, side by side with every other's: p messages each, so that at the deadline it
// is known who did not come.
class Witness {
 public:
  explicit Witness(const Communicator& comm)
      : comm_(comm.duplicate(comm.name())),  // so that nothing mixes with the collective itself
        group_(comm.name()) {}

  void compare(const Call& call, std::uint64_t sequence, std::string_view algorithm);

 private:
  template <class T>
  std::vector<T> exchange(const std::vector<T>& mine, const std::string& operation);
  std::string text_of(Rank rank, const Claim& claim) const;

  Communicator comm_;
  const std::string group_;
};

// Requests that are still under way when an exception unwinds are cancelled; the memory they use is
// left to them, since a send cannot be called back.
template <class T>
std::vector<T> Witness::exchange(const std::vector<T>& mine, const std::string& operation) {
  const auto size = static_cast<std::size_t>(comm_.size());
  auto out = std::make_unique<std::vector<T>>(mine);
  auto in = std::make_unique<std::vector<T>>(size);
  std::vector<MPI_Request> requests(2 * size, MPI_REQUEST_NULL);
  try {
    for (std::size_t rank = 0; rank < size; ++rank) {
      const auto peer = static_cast<Rank>(rank);
      check_mpi(MPI_Irecv(&(*in)[rank], sizeof(T), MPI_BYTE, peer, collective_tag,
                          mpi_handle(comm_), &requests[rank]),
                operation.c_str());
      check_mpi(MPI_Isend(&(*out)[rank], sizeof(T), MPI_BYTE, peer, collective_tag,
                          mpi_handle(comm_), &requests[size + rank]),
                operation.c_str());
    }
    Waiter waiter;
    for (;;) {
      int done = 0;
      check_mpi(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done,
                            MPI_STATUSES_IGNORE),
                operation.c_str());
      if (done) break;
      waiter.pause([&] {
        std::string missing;
        for (std::size_t rank = 0; rank < size; ++rank) {
          int here = 0;
          MPI_Request_get_status(requests[rank], &here, MPI_STATUS_IGNORE);
          if (here) continue;
          missing += (missing.empty() ? "" : ", ") + name_of_rank(comm_, static_cast<Rank>(rank));
        }
        return Waiter::Late{operation, missing};
      });
    }
  } catch (...) {
    for (std::size_t rank = 0; rank < size; ++rank) {
      if (requests[rank] != MPI_REQUEST_NULL) MPI_Cancel(&requests[rank]);
    }
    static_cast<void>(out.release());
    static_cast<void>(in.release());
    throw;
  }
  return *in;
}

std::string Witness::text_of(Rank rank, const Claim& claim) const {
  const auto operation = static_cast<Operation>(claim.operation);
  std::string text = fmt::format("{} called {} #{}", name_of_rank(comm_, rank),
                                 name_of(operation, static_cast<Purpose>(claim.purpose)), claim.sequence);
  if (operation == Operation::barrier) return text;
  text += fmt::format(" of {} {}", claim.count, name_of(static_cast<DType>(claim.type)));
  if (operation == Operation::all_reduce || operation == Operation::reduce_scatter) {
    text += fmt::format(" ({})", reduction_name(static_cast<ReduceOp>(claim.op)));
  }
  if (operation == Operation::broadcast || claim.purpose != 0) text += fmt::format(" (root {})", claim.root);
  return text;
}

void Witness::compare(const Call& call, std::uint64_t sequence, std::string_view algorithm) {
  Claim mine;
  mine.sequence = sequence;
  mine.count = call.count;
  mine.algorithm = hash_of(algorithm);
  mine.root = call.root;
  mine.purpose = static_cast<std::uint8_t>(call.purpose);
  mine.variant = call.variant;
  mine.operation = static_cast<std::uint8_t>(call.operation);
  mine.type = static_cast<std::uint8_t>(call.type);
  mine.op = static_cast<std::uint8_t>(call.op);
  // What each rank of an all-to-all sends is its own affair, as long as the other expects it.
  const bool uneven = call.operation == Operation::all_to_all && !call.receive_counts.empty();
  if (uneven)
    mine.count = -1;
  else if (call.operation != Operation::all_to_all && !call.counts.empty()) {
    mine.layout = hash_of(call.counts);
  }
  std::vector<Claim> claims(static_cast<std::size_t>(comm_.size()), mine);
  for (std::size_t rank = 0; uneven && rank < claims.size(); ++rank) {
    claims[rank].to_you = call.counts[rank];
    claims[rank].from_you = call.receive_counts[rank];
  }
  const std::string title =
      fmt::format("{} #{} over {}", name_of(call.operation), sequence, group_);
  const std::vector<Claim> theirs = exchange(claims, title);

  const std::string disagreement = "collective over " + group_;
  constexpr const char* cure = "make the same call on all ranks";
  const Claim& first = theirs.front();
  for (std::size_t i = 1; i < theirs.size(); ++i) {
    const Claim& other = theirs[i];
    std::string aside;
    if (other.operation == first.operation && other.count == first.count &&
        other.type == first.type && other.op == first.op && other.root == first.root &&
        other.purpose == first.purpose && other.sequence == first.sequence) {
      if (other.layout != first.layout)
        aside = " with other counts by rank";
      else if (other.algorithm != first.algorithm)
        aside = " with another algorithm";
      else if (other.variant != first.variant)
        aside = " with another type or operation of those that go by this name";
      else
        continue;
    }
    throw Error(disagreement,
                text_of(0, first) + ", but " + text_of(static_cast<Rank>(i), other) + aside, cure);
  }
  if (!uneven) return;

  // Only the two know it where an all-to-all does not fit; all are to hear of it.
  struct Misfit {
    std::int64_t from = -1;
    std::int64_t sent = 0;
    std::int64_t expected = 0;
  };
  Misfit misfit;
  for (std::size_t i = 0; i < theirs.size() && misfit.from < 0; ++i) {
    if (theirs[i].to_you == call.receive_counts[i]) continue;
    misfit = {static_cast<std::int64_t>(i), theirs[i].to_you, call.receive_counts[i]};
  }
  const std::vector<Misfit> misfits = exchange(std::vector<Misfit>(theirs.size(), misfit), title);
  for (std::size_t to = 0; to < misfits.size(); ++to) {
    if (misfits[to].from < 0) continue;
    throw Error(
        title,
        fmt::format("{} sends {} elements to {}, which expects {}",
                    name_of_rank(comm_, static_cast<Rank>(misfits[to].from)), misfits[to].sent,
                    name_of_rank(comm_, static_cast<Rank>(to)), misfits[to].expected),
        "make the counts of the two agree");
  }
}

}  // namespace

void check_agreement(const Call& call, std::uint64_t sequence, std::string_view algorithm) {
  if (!settings().check) return;
  call.comm->extension<Witness>().compare(call, sequence, algorithm);
}

}  // namespace shoal
