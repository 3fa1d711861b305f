// What a communicator's collectives have chosen from the table, so that each looks once.
#pragma once

#include <array>
#include <bit>
#include <memory>
#include <string_view>

#include <shoal/collectives/tuning.hpp>

namespace shoal {

/// For each operation and class of sizes (powers of two) the table's choice for this communicator.
class Choices {
 public:
  explicit Choices(const Communicator& comm);

  /// The table's algorithm for a call; nullptr if the table has none for such a group, or if the ranks
  /// are to go through their node's memory as they would without it. The same on all ranks.
  const Algorithm* tuned(const Call& call);

  /// Whether anybody wants to read of the choices (SHOAL_LOG=collectives).
  bool tells() const noexcept { return tells_; }
  /// If so: tells, once for each operation and class of sizes, what was taken and
  /// why. `predicted`: by the model, where that chose.
  void tell(const Call& call, std::string_view taken, Seconds predicted);

 private:
  struct Choice {
    const Algorithm* algorithm = nullptr;
    bool known = false;
    bool told = false;
  };
  static std::size_t class_of(Bytes bytes) noexcept { return std::bit_width(bytes); }
  Choice& at(const Call& call) noexcept {
    return choices_[static_cast<std::size_t>(call.operation)][class_of(call.bytes())];
  }
  /// The point that a call is to go by, for buffers of that kind.
  const TuningTable::Point* point(const Call& call, Memory memory) const noexcept;
  const Algorithm* look_up(const Call& call) const;

  std::shared_ptr<const TuningTable> table_;
  int ranks_, nodes_;
  bool tells_;
  std::array<std::array<Choice, 65>, std::size(all_operations)> choices_;
};

/// Those of a communicator.
inline Choices& choices_of(const Communicator& comm) { return comm.extension<Choices>(); }

}  // namespace shoal
