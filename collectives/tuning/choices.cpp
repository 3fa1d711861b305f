#include "tuning/choices.hpp"

#include <fmt/format.h>
#include <shoal/runtime/log.hpp>

#include "tuning/current.hpp"

namespace shoal {

Choices::Choices(const Communicator& comm)
    : table_(current_tuning()), ranks_(comm.size()),
      nodes_(comm.node_count()), tells_(log::wants("collectives")) {}

const TuningTable::Point* Choices::point(const Call& call, Memory memory) const noexcept {
  if (!table_) return nullptr;
  const TuningTable::Entry* entry = table_->find({call.operation, ranks_, nodes_, memory});
  // All calls of a class go by its smallest size.
  const std::size_t size_class = class_of(call.bytes());
  const Bytes bytes = size_class == 0 ? 0 : Bytes{1} << (size_class - 1);
  return entry == nullptr ? nullptr : TuningTable::nearest(*entry, bytes);
}

const Algorithm* Choices::look_up(const Call& call) const {
  const TuningTable::Point* local = point(call, Memory::local);
  const TuningTable::Point* shared = point(call, Memory::node_shared);
  const TuningTable::Point* chosen = local != nullptr ? local : shared;
  if (chosen == nullptr) return nullptr;
  if (nodes_ == 1) {
    // Whose buffers are shared is known only once the ranks have met.
    for (const TuningTable::Point* either : {local, shared}) {
      if (either != nullptr && either->algorithm.starts_with("node_")) return nullptr;
    }
  }
  return &find_algorithm(call.operation, chosen->algorithm);
}

const Algorithm* Choices::tuned(const Call& call) {
  Choice& choice = at(call);
  if (!choice.known) {
    choice.algorithm = look_up(call);
    choice.known = true;
  }
  return choice.algorithm;
}

void Choices::tell(const Call& call, std::string_view taken, Seconds predicted) {
  Choice& choice = at(call);
  if (!tells_ || choice.told) return;
  choice.told = true;
  const std::size_t size_class = class_of(call.bytes());
  const std::string sizes =
      size_class == 0 ? "0 bytes"
                      : fmt::format("{} to {} bytes", Bytes{1} << (size_class - 1),
                                    (Bytes{1} << (size_class - 1)) * 2 - 1);
  std::string why;
  const TuningTable::Point* local = point(call, Memory::local);
  const TuningTable::Point* by = local != nullptr ? local : point(call, Memory::node_shared);
  if (by != nullptr && taken == by->algorithm) {
    why = fmt::format("measured at {} bytes:", by->bytes);
    for (const auto& [name, time] : by->microseconds) why += fmt::format(" {} {:.4g}", name, time);
    why += " us";
  } else if (taken == "node") {
    why = "the node's memory is the quickest way within a node";
  } else {
    why = fmt::format("the cost model says {:.4g} us", predicted.count() * 1e6);
    if (by != nullptr) why += ", the table's " + by->algorithm + " cannot do this call";
  }
  log::info(fmt::format("{} over {} ({} ranks, {} node{}), {}: {}: {}", name_of(call.operation),
                        call.comm->name(), ranks_, nodes_, nodes_ == 1 ? "" : "s", sizes, taken,
                        why));
}

}  // namespace shoal
