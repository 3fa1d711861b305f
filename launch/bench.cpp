// shoal bench
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/runtime/error.hpp>

#include "command.hpp"
#include "default_mesh.hpp"
#include "process.hpp"

namespace shoal::launch {
namespace {

constexpr const char* about_bench =
    "Measures this machine against the peer and against the bound.\n"
    "\n"
    "  shoal run -n 2 -- bench collectives\n"
    "  shoal bench kernels --dtype fp32,bf16\n"
    "  shoal run -n 2 -- bench layer --dtype fp32,bf16\n"
    "  shoal run -n 2 -- bench train --config nano,gpt2\n"
    "  shoal run -n 2 -- bench checkpoint --out-dir /scratch\n"
    "\n"
    "Times are medians; the peer runs in turns with ours, in the same process.";

constexpr const char* collectives_description =
    "Every collective and algorithm against MPI's own and against other libraries.\n"
    "\n"
    "The bound is what cannot be avoided: the memory that all ranks must read and write, measured in "
    "turns with the rest; between nodes the bytes that a node's link must carry.\n"
    "\n"
    "  shoal run -n 2 -- bench collectives --peers auto --plot collectives.svg\n"
    "  shoal run -n 2 -- bench collectives --ops all_reduce --sizes 8:1M";

constexpr const char* all_reduce_description =
    "All-reduce alone: collectives --ops all_reduce, without other libraries.";

constexpr const char* kernels_description =
    "Matrix products in one process against OpenBLAS (fp32) and oneDNN (bf16, int8).\n"
    "\n"
    "C[m x n] = A[m x k] B[n x k]^T. Peak and memory bandwidth are measured in the same run.";

constexpr const char* matmul_description =
    "Products of matrices that are divided over the ranks.\n"
    "\n"
    "E is the speed over that of one process with the cores of all ranks, measured in turns. ScaLAPACK is "
    "the peer where it is installed.\n"
    "\n"
    "  shoal run -n 2 -- bench matmul --dtype fp32,bf16";

constexpr const char* layer_description =
    "A transformer block, forward and backward, divided over the ranks.\n"
    "\n"
    "E is the speed over that of one process with the cores of all ranks, measured in turns; PyTorch, where "
    "it is installed, is the peer. --kernels adds each kernel by itself: its time, arithmetic and bytes, "
    "and the bound of these.\n"
    "\n"
    "  shoal run -n 2 -- bench layer --dtype fp32,bf16 --kernels";

constexpr const char* train_description =
    "Training steps on random tokens.\n"
    "\n"
    "nano: nanoGPT's CPU configuration (4 layers, width 128, 12 x 64 tokens). small: 6 layers of width "
    "384, 8 x 128 tokens. gpt2: GPT-2 124M with "
    "4 x 64 tokens, gpt2-512: with 4 x 512. The bound is the arithmetic at the rate of a large product.";

constexpr const char* start_description =
    "What it takes until ranks can work, and what memory each takes.\n"
    "\n"
    "  shoal run -n 64 -- bench start\n"
    "  shoal bench start --ranks 2,16,64,128     how both grow with the number of ranks\n"
    "\n"
    "Seconds since the processes were made, and for a first use of collectives and two steps of a tiny "
    "GPT; memory is the proportional share (PSS), so that what ranks share counts once.";

constexpr const char* checkpoint_description =
    "What a checkpoint costs the training.\n"
    "\n"
    "Ten steps with a checkpoint, which is written beside the training, and ten without, in turns. "
    "The models are those of bench train. The bound is what a computation in registers loses while "
    "every rank writes as many bytes: nothing that writes them costs less.";

constexpr Index smallest_head_count = 4;  // of the configurations' heads: 4 and 12

// "64K", "1MiB", "4096".
Bytes parse_bytes(const std::string& text) {
  std::size_t end = 0;
  unsigned long long value = 0;
  try {
    value = std::stoull(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  std::string unit = text.substr(end);
  if (unit.size() > 1 && unit.back() == 'B') unit.pop_back();
  if (unit.size() > 1 && unit.back() == 'i') unit.pop_back();
  const std::string units = "KMG";
  const std::size_t power = unit.empty() || unit == "B" ? 0 : units.find(unit) + 1;
  if (end == 0 || text[0] == '-' || unit.size() > 1 ||
      (power == 0 && !unit.empty() && unit != "B") || value >= (1ull << 40)) {
    throw UsageError("bench", "\"" + text + "\" is not a size", "write 4096, 64K, 1M or 1G");
  }
  return static_cast<Bytes>(value) << (10 * power);
}

class BenchCommand : public Command {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("bench", about_bench);
    app_->require_subcommand(1);
    add_collectives();
    add_all_reduce();
    add_kernels();
    add_matmul();
    add_layer();
    add_train();
    add_checkpoint();
    add_start();
  }

  bool is_local() const noexcept override { return !start_ranks_.empty(); }

  // One run after the other: a run has one number of ranks.
  int run_alone() override {
    for (const int ranks : start_ranks_) {
      const std::string line =
          shell_line({std::filesystem::read_symlink("/proc/self/exe").string(), "run", "--quiet",
                      "-n", std::to_string(ranks), "--", "bench", "start"});
      const int status = std::system(line.c_str());
      if (status != 0) {
        throw Error("bench start", fmt::format("the run of {} ranks failed", ranks),
                    "see what it says above");
      }
    }
    return 0;
  }

  /// The peer at its best: MPI is faster without locks.
  std::optional<ThreadLevel> threads() const noexcept override {
    if (all_reduce_app_->parsed()) return ThreadLevel::funneled;
    return std::nullopt;
  }

  int run(Runtime& runtime) override {
    const Communicator& world = runtime.world();
    if (collectives_app_->parsed() || all_reduce_app_->parsed()) {
      set_sizes();
      collectives_.dtype = parse_dtype(dtype_);
      collectives_.op = parse_reduce_op(op_);
      collectives_.memory = memory_ == "local" ? Memory::local : Memory::node_shared;
      collectives_.link_bytes_per_second = static_cast<double>(parse_bytes(link_rate_));
      collectives_.json = json_;
      if (all_reduce_app_->parsed()) collectives_.operations = {"all_reduce"};
      bench::collectives(world, collectives_);
    } else if (kernels_app_->parsed()) {
      for (std::size_t begin = 0; begin < shapes_.size();) {
        const std::size_t end = std::min(shapes_.find(';', begin), shapes_.size());
        kernels_.shapes.push_back(bench::GemmShape::parse(shapes_.substr(begin, end - begin)));
        begin = end + 1;
      }
      kernels_.json = json_;
      bench::kernels(world, kernels_);
    } else if (matmul_app_->parsed()) {
      matmul_.memory = memory_ == "local" ? Memory::local : Memory::node_shared;
      matmul_.json = json_;
      bench::matmul(world, matmul_);
    } else if (start_app_->parsed()) {
      bench::start(world, json_);
    } else if (layer_app_->parsed()) {
      layer_.mesh = choose_mesh(mesh_, world.size(), layer_heads());
      layer_.json = json_;
      bench::layer(world, layer_);
    } else if (checkpoint_app_->parsed()) {
      checkpoint_.mesh = choose_mesh(mesh_, world.size(), smallest_head_count);
      checkpoint_.json = json_;
      bench::checkpoint(world, checkpoint_);
    } else {
      if (meshes_.empty()) meshes_.emplace_back();
      for (const std::string& mesh : meshes_) {
        train_.meshes.push_back(choose_mesh(mesh, world.size(), smallest_head_count));
      }
      train_.json = json_;
      bench::train(world, train_);
    }
    return 0;
  }

 private:
  template <class T>
  CLI::Option* add(CLI::App* app, const char* name, T& value, const char* type, const char* text) {
    return app->add_option(name, value, text)->type_name(type)->capture_default_str();
  }
  void add_common(CLI::App* app) {
    add(app, "--json", json_, "FILE", "write the results as JSON")->default_str("");
    add(app, "--trace", trace_file_, "FILE", "write a Chrome/Perfetto trace")->default_str("");
  }

  // "MIN:MAX:FACTOR", "MIN:MAX", or one size.
  void set_sizes() {
    std::vector<std::string> parts;
    for (std::size_t begin = 0; begin <= sizes_.size();) {
      const std::size_t end = std::min(sizes_.find(':', begin), sizes_.size());
      parts.push_back(sizes_.substr(begin, end - begin));
      begin = end + 1;
    }
    if (parts.size() > 3) {
      throw UsageError("--sizes", "'" + sizes_ + "' has more than three parts", "give FROM:TO:FACTOR");
    }
    collectives_.min_bytes = parse_bytes(parts[0]);
    collectives_.max_bytes = parts.size() < 2 ? collectives_.min_bytes : parse_bytes(parts[1]);
    if (parts.size() == 3) collectives_.step = parse_bytes(parts[2]);
    if (collectives_.step < 2) {
      throw UsageError("--sizes", "the factor is " + std::to_string(collectives_.step),
                       "make it 2 or more");
    }
    if (!min_bytes_.empty()) collectives_.min_bytes = parse_bytes(min_bytes_);
    if (!max_bytes_.empty()) collectives_.max_bytes = parse_bytes(max_bytes_);
    if (collectives_.min_bytes == 0) {
      throw UsageError("bench", "the smallest size is 0", "start at 1 or more");
    }
  }

  // What both subcommands have.
  void add_contest(CLI::App* app) {
    add(app, "--dtype", dtype_, "TYPE", "f32, f64, bf16, f16, i8, i32 or i64");
    add(app, "--op", op_, "OP", "sum, min, max, prod or avg");
    app->add_option("--algorithms,--algorithm", collectives_.algorithms,
                    "names, comma separated; auto: the library's choice; reproducible: its choice "
                    "where sums are to be; all: these and every one that applies")
        ->type_name("LIST")
        ->delimiter(',');
    add(app, "--memory", memory_, "KIND",
        "node_shared: buffers that the ranks of a node see; local")
        ->check(CLI::IsMember({"shared", "node_shared", "local"}))
        ->type_name("KIND");
    app->add_flag("--in-place", collectives_.in_place, "all-reduces: the output is the input");
    add(app, "--seconds-per-size,--seconds", collectives_.seconds_per_size, "X",
        "time for each size")
        ->check(CLI::Range(0.0, 3600.0))
        ->type_name("X");
    app->add_option("--plot", collectives_.plot,
                    "draw time and bandwidth over size; .svg or .png, by gnuplot")
        ->type_name("FILE");
    add_common(app);
  }

  void add_collectives() {
    CLI::App* app = collectives_app_ =
        app_->add_subcommand("collectives", collectives_description);
    app->add_option("--ops", collectives_.operations,
                    "all_reduce, reduce_scatter, all_gather, broadcast, all_to_all, barrier, all; "
                    "comma separated (all)")
        ->type_name("LIST")
        ->delimiter(',');
    add(app, "--sizes", sizes_, "RANGE", "FROM:TO, in steps of four, or FROM:TO:FACTOR");
    app->add_option("--peers", collectives_.peers,
                    "gloo, mpich, comma separated; auto: those installed; forced: every algorithm that "
                    "Open MPI can be forced to; none (none)")
        ->type_name("LIST")
        ->each([](const std::string& name) {
          // Open MPI looks at it when it starts, which comes after this.
          if (name == "forced") setenv("OMPI_MCA_coll_tuned_use_dynamic_rules", "1", 0);
        })
        ->delimiter(',');
    add(app, "--link-rate", link_rate_, "SIZE",
        "bytes a second of a link between nodes, for the bound; 0: measured");
    add_contest(app);
  }

  void add_all_reduce() {
    CLI::App* app = all_reduce_app_ = app_->add_subcommand("allreduce", all_reduce_description);
    add(app, "--min-bytes", min_bytes_, "SIZE", "smallest buffer (8)")->default_str("");
    add(app, "--max-bytes", max_bytes_, "SIZE", "largest buffer (64M)")->default_str("");
    add_contest(app);
  }

  void add_kernels() {
    CLI::App* app = kernels_app_ = app_->add_subcommand("kernels", kernels_description);
    app->add_option("--dtype", kernels_.types, "fp32, bf16 (operands in fp32), bf16s (stored in bf16), int8, bf16x2, bf16x3; comma "
                    "separated (fp32)")
        ->type_name("LIST")
        ->delimiter(',');
    add(app, "--shapes", shapes_, "LIST",
        "m,n,k;m,n,k;... (default: squares, GPT-2's, a few rows)")
        ->default_str("");
    add(app, "--seconds", kernels_.seconds_per_shape, "X", "time for each shape")
        ->check(CLI::Range(0.0, 3600.0))
        ->type_name("X");
    add_common(app);
  }

  void add_matmul() {
    CLI::App* app = matmul_app_ = app_->add_subcommand("matmul", matmul_description);
    app->add_option("--dtype", matmul_.types, "fp32, bf16; comma separated (fp32)")
        ->type_name("LIST")
        ->delimiter(',');
    app->add_option("--sizes", matmul_.sizes, "rows and columns; comma separated (1024,2048,4096)")
        ->type_name("LIST")
        ->check(CLI::Range(1, 65536))
        ->delimiter(',');
    add(app, "--algorithm", matmul_.algorithm, "NAME",
        "in_place, row, column, summa or 2.5d (default: the library's choice)")
        ->default_str("");
    add(app, "--memory", memory_, "KIND", "node_shared: parts that the ranks of a node see; local")
        ->check(CLI::IsMember({"shared", "node_shared", "local"}))
        ->type_name("KIND");
    add(app, "--rounds", matmul_.rounds, "N", "measurements, of which the medians are")
        ->check(CLI::Range(1, 1000));
    add_common(app);
  }

  void add_layer() {
    CLI::App* app = layer_app_ = app_->add_subcommand("layer", layer_description);
    app->add_option("--width", layer_.widths, "of the model; comma separated (768,2048)")
        ->check(CLI::Range(Index{1}, Index{1} << 16))
        ->type_name("LIST")
        ->delimiter(',');
    add(app, "--heads", layer_.heads, "N", "0: one for each 64 columns")
        ->check(CLI::Range(Index{0}, Index{1} << 16));
    add(app, "--batch", layer_.batch, "N", "sequences, over all dp ranks");
    add(app, "--sequence", layer_.sequence, "N", "tokens of each");
    app->add_option("--dtype", layer_.types, "fp32, bf16; comma separated (fp32)")
        ->type_name("LIST")
        ->delimiter(',');
    add(app, "--mesh", mesh_, "dp=N,tp=N", "layout of the ranks (default: mostly tp)")
        ->default_str("");
    add(app, "--activations", layer_.activations, "HOW",
        "between the parallel layers: whole on every rank, or divided by_rows")
        ->check(CLI::IsMember({"whole", "by_rows"}))
        ->type_name("HOW");
    add(app, "--peers", layer_.peer, "NAME", "torch; auto: where it is installed; none");
    app->add_flag("--kernels", layer_.kernels, "also each kernel of the block by itself");
    add(app, "--rounds", layer_.rounds, "N", "measurements, of which the medians are")
        ->check(CLI::Range(1, 1000));
    add_common(app);
  }

  // For the default mesh: heads that divide as those of every width do.
  Index layer_heads() const {
    if (layer_.heads > 0) return layer_.heads;
    Index heads = 0;
    for (const Index width : layer_.widths) heads = std::gcd(heads, std::max<Index>(1, width / 64));
    return heads;
  }

  void add_train() {
    CLI::App* app = train_app_ = app_->add_subcommand("train", train_description);
    app->add_option("--config", train_.configs, "nano, small, gpt2, gpt2-512; comma separated (nano)")
        ->type_name("LIST")
        ->delimiter(',');
    app->add_option("--dtype", train_.types, "fp32, bf16; comma separated (fp32)")
        ->type_name("LIST")
        ->delimiter(',');
    add(app, "--mesh", meshes_, "dp=N,tp=N,pp=N",
        "layout of the ranks, or several, one after the other: dp=4;pp=2,dp=2 (default: mostly tp)")
        ->delimiter(';')  // meshes have commas
        ->allow_extra_args(false)
        ->default_str("");
    add(app, "--batch-size", train_.batch_size, "N",
        "sequences of a step, over all ranks; 0: those of the configuration");
    add(app, "--grad-accum", train_.micro_batches, "N",
        "micro-batches in which a step takes them, those of the pipeline where the mesh has pp; 0: up "
        "to eight for each stage, otherwise one");
    train_app_
        ->add_option("--zero", train_.shard_optimizer,
                     "1: each dp rank updates a part of the weights, as in train")
        ->check(CLI::IsMember({0, 1}))
        ->type_name("0|1");
    add(app, "--gradient-dtype", train_.gradient_type, "TYPE",
        "in which gradients travel, as in train: fp32 or bf16");
    add(app, "--gather-dtype", train_.gather_type, "TYPE",
        "in which new weights travel with --zero 1, as in train: fp32 or bf16");
    app->add_flag("--sequence-parallel", train_.sequence_parallel,
                  "rows between the parallel layers are divided over tp");
    add(app, "--steps", train_.steps, "N", "timed steps; 0: 200 of nano, 15 of gpt2");
    add(app, "--warm-up", train_.warm_up, "N", "steps before these; 0: 20 of nano, 3 of gpt2");
    app->add_flag("--overlap", train_.overlap,
                  "with --mesh dp=N over all ranks: also how much of the sum of gradients hides "
                  "behind the backward pass");
    add_common(app);
  }

  void add_checkpoint() {
    CLI::App* app = checkpoint_app_ = app_->add_subcommand("checkpoint", checkpoint_description);
    add(app, "--config", checkpoint_.config, "NAME", "nano, small, gpt2 or gpt2-512");
    app->add_option("--dtype", checkpoint_.types, "fp32, bf16; comma separated (fp32)")
        ->type_name("LIST")
        ->delimiter(',');
    add(app, "--mesh", mesh_, "dp=N,tp=N,pp=N", "layout of the ranks (default: mostly tp)")
        ->default_str("");
    add(app, "--out-dir", checkpoint_.out_dir, "DIR",
        "folder on the disk to measure; what is written there goes at the end");
    add(app, "--rounds", checkpoint_.rounds, "N", "of twenty steps each");
    add_common(app);
  }

  void add_start() {
    CLI::App* app = start_app_ = app_->add_subcommand("start", start_description);
    app->add_option("--ranks", start_ranks_, "start runs of so many ranks, one after the other")
        ->type_name("LIST")
        ->check(CLI::Range(1, 4096))
        ->delimiter(',');
    add_common(app);
  }

  CLI::App* start_app_ = nullptr;
  std::vector<int> start_ranks_;
  CLI::App* collectives_app_ = nullptr;
  CLI::App* all_reduce_app_ = nullptr;
  CLI::App* kernels_app_ = nullptr;
  CLI::App* matmul_app_ = nullptr;
  CLI::App* layer_app_ = nullptr;
  CLI::App* train_app_ = nullptr;
  CLI::App* checkpoint_app_ = nullptr;
  bench::CollectivesOptions collectives_;
  bench::KernelsOptions kernels_;
  bench::MatmulOptions matmul_;
  bench::LayerOptions layer_;
  bench::TrainOptions train_;
  bench::CheckpointOptions checkpoint_;
  std::string sizes_ = "8:64M", min_bytes_, max_bytes_, dtype_ = "f32", op_ = "sum",
              memory_ = "node_shared", link_rate_ = "0", shapes_, mesh_, json_;
  std::vector<std::string> meshes_;  // of train
};

}  // namespace

std::unique_ptr<Command> make_bench_command() { return std::make_unique<BenchCommand>(); }

}  // namespace shoal::launch
