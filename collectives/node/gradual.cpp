#include "node/gradual.hpp"

#include <algorithm>
#include <vector>

#include "node/pieces.hpp"
#include "reduce/reduce.hpp"
#include "tuning/parameters.hpp"

namespace shoal {
namespace {

// Of a segment, in one step: some 100 µs.
constexpr Bytes direct_step = 256 << 10;

}  // namespace

GradualAllReduce::GradualAllReduce(const Call& call, NodeControl& control)
    : call_(call),
      control_(control),
      inlined_(call.bytes() <= parameter(Parameter::inline_bytes)) {
  if (inlined_) {
    Announcement mine = announcement_of(call_);
    mine.inlined = 1;
    control_.post(mine, call_.in, call_.bytes());
    return;
  }
  Announcement mine = announcement_on(call_);
  staged_.emplace(call_, control_);
  if (!control_.has_stages()) {
    control_.offer_stage();
    offered_ = true;
  } else if (mine.at.in.owner < 0 || mine.at.out.owner < 0) {
    staged_->begin();
    began_ = true;
    mine.staged = 1;
  }
  control_.post(mine, nullptr, 0);
}

bool GradualAllReduce::advance() {
  switch (phase_) {
    case Phase::posted:
      if (!control_.all_posted()) return false;
      control_.settle();
      return go();
    case Phase::filling:
      if (!control_.all_met()) return false;
      phase_ = Phase::staged;
      return staged_->advance();
    case Phase::staged: return staged_->advance();
    case Phase::direct: return reduce_direct();
    case Phase::meeting: return control_.all_met();
  }
  return false;
}

bool GradualAllReduce::go() {
  if (inlined_) {
    const int ranks = call_.comm->size();
    std::vector<const void*>& inputs = control_.pointers();
    for (Rank rank = 0; rank < ranks; ++rank) {
      inputs[static_cast<std::size_t>(rank)] = control_.inline_of(rank, call_.bytes());
    }
    void* out = call_.out;
    reduce_elements(inputs.data(), ranks, &out, 1, call_.count, call_.type, call_.op, ranks, false);
    return true;
  }
  const bool direct = control_.all_shared(true, true);
  if (offered_) {
    try {
      control_.take_stages();
    } catch (const NoStage&) {
      if (!direct) throw;
    }
  }
  if (direct) {
    phase_ = Phase::direct;
    return reduce_direct();
  }
  if (!control_.all_staged()) {
    if (!began_) staged_->begin();
    control_.arrive();
    phase_ = Phase::filling;
    return false;
  }
  phase_ = Phase::staged;
  return staged_->advance();
}

bool GradualAllReduce::reduce_direct() {
  const int ranks = call_.comm->size();
  const Bytes element = size_of(call_.type);
  const Block part = segment_of(call_.count, call_.type, ranks, call_.comm->rank());
  const Index count = std::min(static_cast<Index>(direct_step / element), part.size - done_);
  const Bytes offset = static_cast<Bytes>(part.begin + done_) * element;
  std::vector<const void*>& inputs = control_.pointers();
  std::vector<void*> outputs(static_cast<std::size_t>(ranks));
  for (Rank rank = 0; rank < ranks; ++rank) {
    inputs[static_cast<std::size_t>(rank)] = bytes_at(input_of(control_, rank), offset);
    outputs[static_cast<std::size_t>(rank)] = bytes_at(output_of(control_, rank), offset);
  }
  const bool stream =
      outgrows_caches(2 * call_.bytes(), ranks) && !reduces_in_place(control_, ranks);
  reduce_elements(inputs.data(), ranks, outputs.data(), ranks, count, call_.type, call_.op, ranks,
                  stream);
  done_ += count;
  if (done_ < part.size) return false;
  control_.arrive();
  phase_ = Phase::meeting;
  return control_.all_met();
}

}  // namespace shoal
