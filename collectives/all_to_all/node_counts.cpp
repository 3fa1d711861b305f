#include "all_to_all/node_counts.hpp"

#include <algorithm>
#include <numeric>
#include <string>

#include <shoal/runtime/error.hpp>

#include "node/node_collectives.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

std::vector<Bytes> starts_in_bytes(const std::vector<Bytes>& lengths) {
  std::vector<Bytes> starts(lengths.size());
  std::exclusive_scan(lengths.begin(), lengths.end(), starts.begin(), Bytes{0});
  return starts;
}

}  // namespace

NodeCounts::NodeCounts(const Call& call, const NodeGroups& groups)
    : even_(call.receive_counts.empty()) {
  const Bytes element = size_of(call.type);
  const int local = groups.local().size();
  if (even_ || local == 1) {
    add(call.counts, even_ ? call.counts : call.receive_counts, element);
    return;
  }
  // By place: what it sends by rank, then what it expects.
  const auto ranks = call.counts.size();
  std::vector<Index> mine(call.counts.begin(), call.counts.end());
  mine.insert(mine.end(), call.receive_counts.begin(), call.receive_counts.end());
  std::vector<Index> all(mine.size() * static_cast<std::size_t>(local));
  const std::vector<Index> counts(static_cast<std::size_t>(local), static_cast<Index>(mine.size()));
  Call gather;
  gather.comm = &groups.local();
  gather.operation = Operation::all_gather;
  gather.in = mine.data();
  gather.out = all.data();
  gather.count = static_cast<Index>(all.size());
  gather.counts = counts;
  gather.type = DType::i64;
  node_all_gather(gather, NodePath::any);
  const std::span<const Index> tables(all);
  for (std::size_t place = 0; place < static_cast<std::size_t>(local); ++place) {
    add(tables.subspan(place * 2 * ranks, ranks), tables.subspan((place * 2 + 1) * ranks, ranks),
        element);
  }
  require_agreement(call, groups);
}

void NodeCounts::add(std::span<const Index> sends, std::span<const Index> receives, Bytes element) {
  const auto in_bytes = [&](std::span<const Index> counts) {
    std::vector<Bytes> bytes;
    for (const Index count : counts) bytes.push_back(static_cast<Bytes>(count) * element);
    return bytes;
  };
  Place place;
  place.sent = in_bytes(sends);
  place.expected = in_bytes(receives);
  place.in_starts = starts_in_bytes(place.sent);
  place.out_starts = starts_in_bytes(place.expected);
  for (const auto* lengths : {&place.sent, &place.expected}) {
    for (const Bytes length : *lengths) longest_ = std::max(longest_, length);
  }
  places_.push_back(std::move(place));
}

void NodeCounts::require_agreement(const Call& call, const NodeGroups& groups) const {
  const std::vector<Rank>& ranks = groups.ranks_of(groups.node());
  const Bytes element = size_of(call.type);
  for (int from = 0; from < groups.local().size(); ++from) {
    for (int to = 0; to < groups.local().size(); ++to) {
      const Rank sender = ranks[static_cast<std::size_t>(from)];
      const Rank receiver = ranks[static_cast<std::size_t>(to)];
      if (sent(from, receiver) == expected(to, sender)) continue;
      throw Error("all_to_all over " + call.comm->name(),
                  name_of_rank(*call.comm, sender) + " sends " +
                      std::to_string(sent(from, receiver) / element) + " elements to " +
                      name_of_rank(*call.comm, receiver) + ", which expects " +
                      std::to_string(expected(to, sender) / element),
                  "make the counts of the two agree");
    }
  }
}

}  // namespace shoal
