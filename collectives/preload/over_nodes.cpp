#include "preload/over_nodes.hpp"

#include <climits>
#include <exception>
#include <string>

#include <shoal/runtime/error.hpp>

#include "dispatch.hpp"
#include "node/pieces.hpp"
#include "preload/pack.hpp"
#include "preload/preload.hpp"
#include "preload/types.hpp"
#include "scratch.hpp"

namespace shoal::preload {
namespace {

// Calls work(algorithm) with what does the call.
template <class Work>
std::optional<int> take(MPI_Comm comm, const Group& group, const Call& call, Tally& tally,
                        Work&& work) {
  const Inside inside;
  try {
    const Algorithm* const algorithm = group.between->choice(call);
    if (algorithm == nullptr) return std::nullopt;
    work(*algorithm);
    tally.taken();
    return MPI_SUCCESS;
  } catch (const std::exception& error) {
    fail(comm, error.what());
    return MPI_ERR_OTHER;
  }
}

// What MPI packs has an int as its length.
bool can_pack(Bytes bytes) { return bytes <= static_cast<Bytes>(INT_MAX); }

void* writable(const Elements& elements) { return const_cast<void*>(elements.data); }

}  // namespace

std::optional<int> take_over_between(MPI_Comm comm, const Group& group, const Call& call,
                                     Tally& tally) {
  return take(comm, group, call, tally,
              [&](const Algorithm& algorithm) { run_with(call, algorithm); });
}

std::optional<int> movement_between(MPI_Comm comm, const Group& group, Call call, Bytes bytes,
                                    const Elements& in, const Elements& out, Tally& tally) {
  const bool in_place = in.data == MPI_IN_PLACE;
  if (!can_pack(bytes) || out.data == MPI_IN_PLACE) return std::nullopt;
  const auto ranks = static_cast<Bytes>(group.comm.size());
  const Rank me = group.comm.rank();
  const bool gathers = call.operation == Operation::all_gather;
  const Bytes in_bytes = gathers ? bytes : bytes * ranks;
  const auto said = in_place ? bytes : bytes_of(in.count, in.type);
  if (!said) return std::nullopt;  // MPI tells what is wrong before it does anything
  return take(comm, group, call, tally, [&](const Algorithm& algorithm) {
    if (*said != bytes) {
      throw Error(
          std::string(name_of(call.operation)) + " over " + group.comm.name(),
          std::to_string(*said) + " bytes go to where " + std::to_string(bytes) + " are received",
          "pass types and counts that go together");
    }
    // What goes: as it lies; or packed, as blocks of one rank each.
    const Elements& from = in_place ? out : in;
    const bool as_it_lies = is_plain(from.type) && (gathers || !in_place);
    const Scratch sent(group.comm, as_it_lies ? 0 : in_bytes);
    const Bytes first = gathers && in_place ? static_cast<Bytes>(me) : 0;
    if (as_it_lies) {
      call.in = bytes_at(from.data, first * bytes);
    } else {
      for (Bytes block = 0; block < in_bytes / bytes; ++block) {
        const auto number = static_cast<Index>(first + block) * from.count;
        pack(element_at(from.data, number, from.type), from.count, from.type,
             sent.data() + block * bytes, bytes, comm);
      }
      call.in = sent.data();
    }
    const bool plain = is_plain(out.type);
    const Scratch come(group.comm, plain ? 0 : bytes * ranks);
    call.out = plain ? writable(out) : come.data();
    run_with(call, algorithm);
    for (Bytes block = 0; !plain && block < ranks; ++block) {
      const auto number = static_cast<Index>(block) * out.count;
      unpack(come.data() + block * bytes, bytes, element_at(writable(out), number, out.type),
             out.count, out.type, comm);
    }
  });
}

std::optional<int> broadcast_between(MPI_Comm comm, const Group& group, Call call,
                                     const Elements& elements, Tally& tally) {
  const Bytes bytes = call.bytes();
  if (!can_pack(bytes)) return std::nullopt;
  return take(comm, group, call, tally, [&](const Algorithm& algorithm) {
    if (is_plain(elements.type)) return run_with(call, algorithm);
    const Scratch data(group.comm, bytes);
    call.in = call.out = data.data();
    const bool root = group.comm.rank() == call.root;
    if (root) pack(elements.data, elements.count, elements.type, data.data(), bytes, comm);
    run_with(call, algorithm);
    if (!root) unpack(data.data(), bytes, writable(elements), elements.count, elements.type, comm);
  });
}

}  // namespace shoal::preload
