// What a rank does in a step, as a list of actions; the ranks of a stage have one in common.
#pragma once

#include <vector>

#include <shoal/planning/estimate.hpp>

namespace shoal::planning {

struct Action {
  enum class Kind {
    compute,     ///< `seconds`
    collective,  ///< `operation` of `bytes` in `group`
    meet,        ///< all of `group` wait for each other, then take `seconds`
    send,        ///< `bytes` to the rank `distance` further on
    receive,     ///< from the rank `distance` further back
    send_rows,     ///< the same two of rows of the embedding, on a way of their own
    receive_rows,
    launch,      ///< hands the collective that follows in the list to the background
    join         ///< waits until the background has done all it was handed
  };
  Kind kind = Kind::compute;
  const char* name = "";
  double seconds = 0;  ///< while all ranks are at work
  double streams = 0;  ///< compute: of `seconds`, what is no product
  double bytes = 0;
  Operation operation = Operation::all_reduce;
  Group group;
  int distance = 0;
};

using Program = std::vector<Action>;

/// One for each stage.
std::vector<Program> make_programs(const Model& model, const Software& software,
                                   const Prices& prices, const Workload& workload,
                                   const Layout& layout);

/// What the links of a rank let pass at once when the step begins, one like it having gone before: by level.
std::vector<double> burst_at_start(const Model& model, const Software& software, const Prices& prices,
                                   const Workload& workload, const Layout& layout);

}  // namespace shoal::planning
