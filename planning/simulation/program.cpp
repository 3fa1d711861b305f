#include "simulation/program.hpp"

#include <algorithm>
#include <cmath>

#include "cost/gpt_gradients.hpp"
#include "cost/link_credit.hpp"
#include "cost/pieces.hpp"
#include "cost/tally.hpp"

namespace shoal::planning {
namespace {

class StageWriter {
 public:
  StageWriter(const Model& model, const Software& software, const Prices& prices,
              const Workload& workload, const Layout& layout, double footprint, int stage)
      : model_(model),
        software_(software),
        prices_(prices),
        workload_(workload),
        layout_(layout),
        stage_(stage) {
    const std::vector<Index> layers = layers_of_stages(model, software, workload, layout);
    for (int before = 0; before < stage; ++before) {
      first_layer_ += layers[static_cast<std::size_t>(before)];
    }
    end_layer_ = first_layer_ + layers[static_cast<std::size_t>(stage)];
    training_ = workload.kind == Workload::Kind::train;
    training_ ? prepare_training(footprint) : prepare_inference();
  }

  Program write() {
    if (!training_) {
      for (int i = 0; i < micro_steps_; ++i) forward();
      return std::move(program_);
    }
    lends_ = pieces_.measured && layout_.pp > 1;
    // As many rows at once as the stages before this one can come to without it.
    while (is_last() && lends_ && lent_ < std::min(micro_steps_, layout_.pp)) lend();
    // One forward, one backward, after as many forwards as there are stages behind.
    const int ahead = std::min(layout_.pp - stage_ - 1, micro_steps_);
    for (int i = 0; i < ahead; ++i) forward();
    for (int i = ahead; i < micro_steps_; ++i) {
      forward();
      backward(i - ahead == micro_steps_ - 1);
    }
    for (int i = micro_steps_ - ahead; i < micro_steps_; ++i) backward(i == micro_steps_ - 1);
    while (is_last() && lends_ && taken_back_ < micro_steps_) take_back();
    update();
    return std::move(program_);
  }

 private:
  void prepare_training(double footprint) {
    micro_steps_ = static_cast<int>(workload_.batch / (layout_.dp * layout_.micro_batch));
    pieces_ = step_pieces(model_, software_, prices_, workload_, layout_, footprint);
    const double rows = static_cast<double>(layout_.micro_batch * workload_.sequence);
    boundary_bytes_ = rows * static_cast<double>(model_.width) *
                      (pieces_.measured || workload_.type == "fp32" ? 4 : 2);
  }

  void prepare_inference() {
    LayerWork work;
    work.training = false;
    work.type = workload_.type;
    const std::string& stored = workload_.weights.empty() ? workload_.type : workload_.weights;
    work.weight_bytes = bytes_of_type(stored);
    work.quantised_rate = stored == "q40" && prices_.cluster().device.peak.count("q40") > 0;
    const double sequences = std::ceil(static_cast<double>(workload_.batch) / layout_.dp);
    if (workload_.kind == Workload::Kind::decode) {
      work.sequences = std::ceil(sequences / layout_.pp);
      work.past = static_cast<double>(workload_.sequence);
      micro_steps_ = layout_.pp;
    } else {
      work.sequences = std::min(sequences, static_cast<double>(layout_.micro_batch));
      work.tokens = static_cast<double>(workload_.sequence);
      micro_steps_ = static_cast<int>(std::ceil(sequences / work.sequences));
    }
    pieces_.dense.forward = layer_ops(model_, software_, prices_, layout_, work);
    if (model_.experts > 0) {
      work.expert_layer = true;
      pieces_.expert.forward = layer_ops(model_, software_, prices_, layout_, work);
    }
    pieces_.head = head_ops(model_, software_, prices_, layout_, work, work.sequences);
    boundary_bytes_ = work.sequences * work.tokens * static_cast<double>(model_.width) *
                      (workload_.type == "fp32" ? 4 : 2);
  }

  bool is_first() const { return stage_ == 0; }
  bool is_last() const { return stage_ == layout_.pp - 1; }
  int stage_ranks() const { return layout_.dp * layout_.tp; }
  const LayerPieces& pieces_of(Index layer) const {
    return model_.experts > 0 && layer >= model_.dense_layers ? pieces_.expert : pieces_.dense;
  }

  void compute(const char* name, double seconds, double streams = 0) {
    if (!(seconds > 0)) return;
    // Operations in a row are one event.
    if (!program_.empty() && program_.back().kind == Action::Kind::compute &&
        program_.back().name == name) {
      program_.back().seconds += seconds;
      program_.back().streams += streams;
      return;
    }
    Action& action = program_.emplace_back();
    action.name = name;
    action.seconds = seconds;
    action.streams = streams;
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

  void run(const std::vector<LayerOp>& ops, const char* name) {
    for (const LayerOp& op : ops) {
      if (op.kind != LayerOp::Kind::exchange) {
        compute(name, op.seconds, op.kind == LayerOp::Kind::stream ? op.seconds : 0);
        continue;
      }
      if (!(op.seconds > 0)) continue;
      // The engine tells messages apart by how many phases their stage has had. Stages meet only after
      // their passes, where a short exchange is all that is left: it takes its time on each.
      if (layout_.pp > 1 && op.group.size > stage_ranks()) {
        compute(name, op.seconds);
        continue;
      }
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

  // models/borrowed_rows.cpp: the last stage has the embedding.
  void move_rows(Action::Kind kind, int distance) {
    Action& action = program_.emplace_back();
    action.kind = kind;
    action.name = kind == Action::Kind::send_rows ? "send rows" : "wait for rows";
    action.bytes = borrowed_bytes(model_, workload_, layout_);
    action.distance = distance * stage_ranks() * (layout_.pp - 1);
  }
  void lend() {
    move_rows(Action::Kind::send_rows, -1);
    ++lent_;
  }
  void take_back() {
    move_rows(Action::Kind::receive_rows, 1);
    ++taken_back_;
  }

  void forward() {
    if (!is_first()) hand_over(true, false);
    if (is_last() && lends_) {
      if (lent_ < micro_steps_) lend();
      if (come_to_++ >= layout_.pp) take_back();
    }
    if (is_first() && lends_) move_rows(Action::Kind::receive_rows, -1);
    if (is_first()) run(pieces_.begin, "embedding");
    for (Index layer = first_layer_; layer < end_layer_; ++layer) {
      run(pieces_of(layer).forward, "forward");
    }
    // In training both passes of the output layer: the backward pass follows at once.
    if (is_last()) run(pieces_.head, "output layer");
    if (!is_last()) hand_over(true, true);
  }

  void backward(bool sums) {
    if (!is_last()) hand_over(false, false);
    const bool beside = !pieces_.gradients_wait;
    const bool in_buckets = sums && beside && pieces_.measured && layout_.dp > 1;
    if (in_buckets) cut_into_buckets();
    std::size_t stages = 0;
    if (in_buckets) launch_buckets(stages);
    for (Index layer = end_layer_; layer-- > first_layer_;) {
      // The trainer of this runtime keeps what its only stage's last layer has made.
      const bool kept = pieces_.measured && layout_.pp == 1 && layer + 1 == end_layer_;
      if (!kept) run(pieces_of(layer).again, "forward again");
      const LayerPieces& pieces = pieces_of(layer);
      const auto mlp_end = pieces.backward.begin() + static_cast<std::ptrdiff_t>(pieces.mlp_backward);
      run({pieces.backward.begin(), mlp_end}, "backward");
      if (in_buckets) launch_buckets(++stages);
      run({mlp_end, pieces.backward.end()}, "backward");
      if (in_buckets) {
        launch_buckets(++stages);
      } else if (sums && beside) {
        reduce(true, model_.experts > 0 && layer >= model_.dense_layers, 1);
      }
    }
    if (is_first()) run(pieces_.begin_backward, "embedding, backward");
    if (is_first() && lends_) move_rows(Action::Kind::send_rows, 1);
    if (!is_first()) hand_over(false, true);
    if (!sums) return;
    if (in_buckets) {
      launch_buckets(++stages);
    } else if (beside) {
      ends(true);
    } else {
      const auto layers = static_cast<double>(end_layer_ - first_layer_);
      const double moe = expert_share(model_);
      if (moe < 1) reduce(false, false, layers * (1 - moe), extra());
      if (moe > 0) reduce(false, true, layers * moe);
    }
  }

  void cut_into_buckets() {
    BackwardPass pass;
    pass.layers = end_layer_ - first_layer_;
    pass.weights = stage_weights(model_, layout_, pass.layers, is_last());
    pass.has_embedding = is_last();
    buckets_ = gradient_buckets(model_, prices_, workload_, layout_, pass, nullptr);
  }
  // Those that are whole after so many stages of the backward pass.
  void launch_buckets(std::size_t stages) {
    for (; next_bucket_ < buckets_.size() && buckets_[next_bucket_].stage <= stages; ++next_bucket_) {
      program_.emplace_back().kind = Action::Kind::launch;
      const GradientBucket& bucket = buckets_[next_bucket_];
      collective("gradients", bucket.operation, bucket.bytes, {layout_.dp, layout_.tp});
    }
  }

  double routed() const {
    return static_cast<double>(model_.experts) * model_.mlp_parameters(model_.expert_ffn);
  }
  // Weights of embedding and output layer that this stage has: in this runtime both are the last's.
  double extra() const {
    if (pieces_.measured) {
      return is_last() ? model_.embedding_parameters() + model_.head_parameters() : 0;
    }
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
    const double bytes = travelling_bytes(workload_.gradient_type, software_.reduced_bytes);
    collective("gradients", operation, weights * bytes, group);
  }

  void update() {
    program_.emplace_back().kind = Action::Kind::join;
    program_.back().name = "wait for gradients";
    if (!buckets_.empty() && is_last()) {
      run(late_embedding_pieces(model_, prices_, workload_, layout_), "rows of the embedding");
    }
    const double moe = expert_share(model_);
    const auto layers = static_cast<double>(end_layer_ - first_layer_);
    const double dense = layers * (1 - moe) * model_.layer_parameters(false, false);
    const double expert =
        model_.experts > 0 ? layers * moe * model_.layer_parameters(true, false) : 0;
    const double experts = model_.experts > 0 ? layers * moe * routed() : 0;
    const double shared = (dense + expert - experts + extra()) / layout_.tp;
    const int ranks = std::max(layout_.ep, layout_.tp);
    const double mine = shared + experts / ranks;
    run(update_pieces(model_, software_, prices_, workload_, layout_, mine), "optimizer");
    if (layout_.zero < 1) return;
    const double bytes = travelling_bytes(workload_.gather_type, software_.weight_bytes);
    collective("weights", Operation::all_gather, shared * bytes, {layout_.dp, layout_.tp});
    if (experts > 0) {
      collective("weights", Operation::all_gather, experts / ranks * bytes,
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
  StepPieces pieces_;
  double boundary_bytes_ = 0;
  std::vector<GradientBucket> buckets_;
  std::size_t next_bucket_ = 0;
  bool lends_ = false;
  int lent_ = 0, come_to_ = 0, taken_back_ = 0;
  Program program_;
};

}  // namespace

std::vector<double> burst_at_start(const Model& model, const Software& software, const Prices& prices,
                                   const Workload& workload, const Layout& layout) {
  std::vector<double> bursts;
  for (const Level& level : prices.cluster().levels) {
    bursts.push_back(level.burst_bytes ? level.burst_bytes->value : 0);
  }
  if (workload.kind != Workload::Kind::train) return bursts;
  const StepPieces pieces = step_pieces(model, software, prices, workload, layout, 0);
  if (!pieces.measured) return bursts;
  const auto micro_steps = static_cast<int>(workload.batch / (layout.dp * layout.micro_batch));
  const std::vector<Index> layers = layers_of_stages(model, software, workload, layout);
  return credit_at_start(prices, layout, pieces, micro_steps,
                         *std::max_element(layers.begin(), layers.end()));
}

std::vector<Program> make_programs(const Model& model, const Software& software,
                                   const Prices& prices, const Workload& workload,
                                   const Layout& layout) {
  std::vector<Program> programs;
  double footprint = 0;
  if (workload.kind == Workload::Kind::train) {
    const bool between_nodes = prices.spread({layout.dp, layout.tp}).back() > 1;
    footprint = memory_need(model, software, workload, layout, between_nodes).total();
  }
  for (int stage = 0; stage < layout.pp; ++stage) {
    programs.push_back(StageWriter(model, software, prices, workload, layout, footprint, stage).write());
  }
  return programs;
}

}  // namespace shoal::planning
