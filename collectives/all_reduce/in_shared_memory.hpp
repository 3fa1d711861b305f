// A part of an all-reduce where all ranks of the node see it.
#pragma once

#include "node/groups.hpp"
#include "node/node_collectives.hpp"
#include "reduce/reduce.hpp"

namespace shoal {

/// Calls run(call, control), with `part` or, where a rank of this node has it in private memory, with copies of it
/// in stages; `control` knows the others' buffers. Returns once all ranks of the node are through, with the result
/// where `part` wants it. Throws Error on all of them alike if one has no memory for its stage. There must be
/// others on the node.
template <class Run>
void in_shared_memory(const Call& part, NodeGroups& groups, Run&& run) {
  NodeControl& control = node_control(groups.local());
  control.announce(announcement_on(part), nullptr, 0);
  if (control.all_shared(true, true)) {
    run(part, control);
    return control.meet();
  }
  Call staged = part;
  std::byte* const stage = groups.stage(part.bytes());
  staged.in = staged.out = stage;
  if (stage != nullptr) copy_elements(stage, part.in, part.bytes());
  announce_stage(control, staged);
  run(staged, control);
  control.meet();
  copy_elements(part.out, stage, part.bytes());
}

}  // namespace shoal
