#include "simulation/program.hpp"

#include <algorithm>
#include <cmath>

#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

class StageWriter {
 public:
  StageWriter(const Model& model, const Software& software, const Prices& prices,
              const Workload& workload, const Layout& layout, int stage)
      : model_(model),
        software_(software),
        prices_(prices),
        workload_(workload),
        layout_(layout),
        stage_(stage) {
    const int fullest = static_cast<int>((model.layers + layout.pp - 1) / layout.pp);
    first_layer_ = std::min<Index>(static_cast<Index>(stage) * fullest, model.layers);
    end_layer_ = std::min<Index>(first_layer_ + fullest, model.layers);
    training_ = workload.kind == Workload::Kind::train;
    work_.training = training_;
    work_.type = workload.type;
    if (training_) {
      work_.sequences = static_cast<double>(layout.micro_batch);
      work_.tokens = static_cast<double>(workload.sequence);
      work_.weight_bytes = workload.type == "fp32" ? 4 : 2;
      micro_steps_ = static_cast<int>(workload.batch / (layout.dp * layout.micro_batch));
    } else {
      const std::string& stored = workload.weights.empty() ? workload.type : workload.weights;
      work_.weight_bytes = bytes_of_type(stored);
      work_.quantised_rate = stored == "q40" && prices.cluster().device.peak.count("q40") > 0;
      const double sequences = std::ceil(static_cast<double>(workload.batch) / layout.dp);
      if (workload.kind == Workload::Kind::decode) {
        work_.sequences = std::ceil(sequences / layout.pp);
        work_.past = static_cast<double>(workload.sequence);
        micro_steps_ = layout.pp;
      } else {
        work_.sequences = std::min(sequences, static_cast<double>(layout.micro_batch));
        work_.tokens = static_cast<double>(workload.sequence);
        micro_steps_ = static_cast<int>(std::ceil(sequences / work_.sequences));
      }
    }
    const double rows = work_.sequences * work_.tokens;
    for (const bool expert_layer : {false, true}) {
      if (expert_layer && model.experts == 0) continue;
      work_.expert_layer = expert_layer;
      (expert_layer ? expert_ : dense_) = layer_ops(model, software, prices, layout, work_);
    }
    head_ = head_ops(model, software, prices, layout, work_, training_ ? rows : work_.sequences);
    boundary_bytes_ = rows * static_cast<double>(model.width) *
                      (training_                 ? work_.weight_bytes
                       : workload.type == "fp32" ? 4
                                                 : 2);
  }

  Program write() {
    if (!training_) {
      for (int i = 0; i < micro_steps_; ++i) forward();
      return std::move(program_);
    }
    // One forward, one backward, after as many forwards as there are stages behind.
    const int ahead = std::min(layout_.pp - stage_ - 1, micro_steps_);
    for (int i = 0; i < ahead; ++i) forward();
    for (int i = ahead; i < micro_steps_; ++i) {
      forward();
      backward(i - ahead == micro_steps_ - 1);
    }
    for (int i = micro_steps_ - ahead; i < micro_steps_; ++i) backward(i == micro_steps_ - 1);
    update();
    return std::move(program_);
  }

 private:
  bool is_first() const { return stage_ == 0; }
  bool is_last() const { return stage_ == layout_.pp - 1; }
  int stage_ranks() const { return layout_.dp * layout_.tp; }
  const std::vector<LayerOp>& ops_of(Index layer) const {
    return model_.experts > 0 && layer >= model_.dense_layers ? expert_ : dense_;
  }

  void compute(const char* name, double seconds) {
    if (!(seconds > 0)) return;
    // Operations in a row are one event.
    if (!program_.empty() && program_.back().kind == Action::Kind::compute &&
        program_.back().name == name) {
      program_.back().seconds += seconds;
      return;
    }
    Action& action = program_.emplace_back();
    action.name = name;
    action.seconds = seconds;
  }

  void collective(const char* name, Operation operation, double bytes, Group group) {
    if (group.size <= 1 || !(bytes > 0)) return;
    Action& action = program_.emplace_back();
    action.kind = Action::Kind::collective;
    action.name = name;
    action.operation = operation;
    action.bytes = bytes;
    action.group = group;
  }

  // `times` as long, exchanges as often as `exchanges` says.
  void run(const std::vector<LayerOp>& ops, const char* name, bool backward, bool only_core) {
    for (const LayerOp& op : ops) {
      if (only_core && !op.core) continue;
      const double times = backward ? op.backward : 1;
      if (op.kind != LayerOp::Kind::exchange) {
        compute(name, op.seconds * times);
        continue;
      }
      if (!(op.seconds > 0) || !(times > 0)) continue;
      if (software_.exchange == Software::Exchange::star && !training_) {
        Action& action = program_.emplace_back();
        action.kind = Action::Kind::meet;
        action.name = op.name;
        action.seconds = op.seconds;
        action.group = op.group;
        continue;
      }
      compute(name, software_.call_seconds);
      collective(op.name, op.operation, op.bytes, op.group);
    }
  }

  void hand_over(bool onward, bool sends) {
    Action& action = program_.emplace_back();
    action.kind = sends ? Action::Kind::send : Action::Kind::receive;
    action.name = sends ? "send to a stage" : "wait for a stage";
    action.bytes = boundary_bytes_ / layout_.tp;
    action.distance = onward ? stage_ranks() : -stage_ranks();
    action.seconds = sends ? software_.call_seconds.value : 0;
    if (!sends && training_ && !layout_.sequence_parallel) {
      collective("gather of tp", Operation::all_gather, boundary_bytes_, {layout_.tp, 1});
    }
  }

  void forward() {
    if (!is_first()) hand_over(true, false);
    for (Index layer = first_layer_; layer < end_layer_; ++layer) {
      run(ops_of(layer), "forward", false, false);
    }
    if (is_last()) run(head_, "output layer", false, false);
    if (!is_last()) hand_over(true, true);
  }

  void backward(bool sums) {
    if (!is_last()) hand_over(false, false);
    if (is_last()) run(head_, "output layer, backward", true, false);
    const bool beside = software_.gradient_overlap > 0;
    for (Index layer = end_layer_; layer-- > first_layer_;) {
      const std::vector<LayerOp>& ops = ops_of(layer);
      if (layout_.recompute == Recompute::full) run(ops, "forward again", false, false);
      if (layout_.recompute == Recompute::selective) run(ops, "forward again", false, true);
      run(ops, "backward", true, false);
      if (sums && beside) {
        reduce(true, model_.experts > 0 && layer >= model_.dense_layers, 1);
      }
    }
    if (!is_first()) hand_over(false, true);
    if (!sums) return;
    if (beside) {
      ends(true);
    } else {
      const auto layers = static_cast<double>(end_layer_ - first_layer_);
      const double moe = expert_share(model_);
      if (moe < 1) reduce(false, false, layers * (1 - moe), extra());
      if (moe > 0) reduce(false, true, layers * moe);
    }
  }

  double routed() const {
    return static_cast<double>(model_.experts) * model_.mlp_parameters(model_.expert_ffn);
  }
  // Weights of embedding and output layer that this stage has.
  double extra() const {
    double weights = is_first() ? model_.embedding_parameters() : 0;
    if (is_last()) weights += model_.head_parameters();
    return weights;
  }
  void ends(bool beside) {
    if (extra() > 0) sum(beside, extra() / layout_.tp, {layout_.dp, layout_.tp});
  }
  void reduce(bool beside, bool expert_layer, double layers, double more = 0) {
    const double all = layers * model_.layer_parameters(expert_layer, false) + more;
    const double experts = expert_layer ? layers * routed() : 0;
    sum(beside, (all - experts) / layout_.tp, {layout_.dp, layout_.tp});
    if (!expert_layer) return;
    const int ranks = std::max(layout_.ep, layout_.tp);
    sum(beside, experts / ranks, {std::max(1, stage_ranks() / ranks), ranks});
  }
  void sum(bool beside, double weights, Group group) {
    if (group.size <= 1 || !(weights > 0)) return;
    if (beside) program_.emplace_back().kind = Action::Kind::launch;
    const Operation operation =
        layout_.zero >= 1 ? Operation::reduce_scatter : Operation::all_reduce;
    collective("gradients", operation, weights * software_.reduced_bytes, group);
  }

  void update() {
    program_.emplace_back().kind = Action::Kind::join;
    program_.back().name = "wait for gradients";
    const double moe = expert_share(model_);
    const auto layers = static_cast<double>(end_layer_ - first_layer_);
    const double dense = layers * (1 - moe) * model_.layer_parameters(false, false);
    const double expert =
        model_.experts > 0 ? layers * moe * model_.layer_parameters(true, false) : 0;
    const double experts = model_.experts > 0 ? layers * moe * routed() : 0;
    const double shared = (dense + expert - experts + extra()) / layout_.tp;
    const int ranks = std::max(layout_.ep, layout_.tp);
    const double mine = shared + experts / ranks;
    const Device& device = prices_.cluster().device;
    compute("optimizer", mine / (layout_.zero >= 1 ? layout_.dp : 1) * software_.optimizer_traffic /
                             (device.memory_bandwidth * device.memory_efficiency));
    if (layout_.zero < 1) return;
    collective("weights", Operation::all_gather, shared * software_.weight_bytes,
               {layout_.dp, layout_.tp});
    if (experts > 0) {
      collective("weights", Operation::all_gather, experts / ranks * software_.weight_bytes,
                 {std::max(1, stage_ranks() / ranks), ranks});
    }
  }

  const Model& model_;
  const Software& software_;
  const Prices& prices_;
  const Workload& workload_;
  const Layout& layout_;
  const int stage_;
  Index first_layer_ = 0, end_layer_ = 0;
  bool training_ = true;
  int micro_steps_ = 1;
  LayerWork work_;
  std::vector<LayerOp> dense_, expert_, head_;
  double boundary_bytes_ = 0;
  Program program_;
};

}  // namespace

std::vector<Program> make_programs(const Model& model, const Software& software,
                                   const Prices& prices, const Workload& workload,
                                   const Layout& layout) {
  std::vector<Program> programs;
  for (int stage = 0; stage < layout.pp; ++stage) {
    programs.push_back(StageWriter(model, software, prices, workload, layout, stage).write());
  }
  return programs;
}

}  // namespace shoal::planning
