// The pieces of the guide's pages on meshes, placements, collectives, checkpoints and faults, as one program
// for four ranks.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/kernels/parallel/matmul.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/runtime.hpp>

namespace {

void require(bool good, const char* what) {
  if (!good) throw shoal::Error("concepts", std::string("not so: ") + what);
}

void meshes(const shoal::Communicator& world) {
  const shoal::Mesh mesh(world, shoal::MeshShape::parse("dp=2,tp=2"));
  const shoal::Communicator& tp = mesh.axis("tp");  // the ranks of this one's row, on one node if they fit
  const shoal::Communicator& dp = mesh.axis("dp");  // those of its column
  const int row = mesh.coordinate("dp");
  const int column = mesh.coordinate("tp");
  require(tp.size() == 2 && dp.size() == 2 && tp.rank() == column && dp.rank() == row, "axes");
  require(mesh.all().rank() == 2 * row + column, "order");
}

void placements(const shoal::Communicator& tp) {
  const shoal::Shape global{6, 8};
  const shoal::Placement by_rows = shoal::Shard(0);
  const shoal::Placement by_columns = shoal::Shard(1);
  const shoal::Shape mine = local_shape(global, by_rows, tp.size(), tp.rank());  // on 4 ranks {2, 8} or {1, 8}

  const shoal::Buffer<float> rows(mine.size(), shoal::Memory::node_shared);
  const shoal::Buffer<float> columns(local_shape(global, by_columns, tp.size(), tp.rank()).size(),
                                     shoal::Memory::node_shared);
  const shoal::Buffer<float> whole(global.size(), shoal::Memory::node_shared);
  const shoal::Block block = shoal::block_of(global[0], tp.size(), tp.rank());
  for (shoal::Index i = 0; i < mine.size(); ++i) rows[i] = static_cast<float>(block.begin * global[1] + i);

  redistribute(tp, global, shoal::DType::f32, rows.data(), by_rows, columns.data(), by_columns);  // all-to-all
  redistribute(tp, global, shoal::DType::f32, columns.data(), by_columns, whole.data(),
               shoal::Replicate());  // all-gather
  for (shoal::Index i = 0; i < whole.size(); ++i) require(whole[i] == static_cast<float>(i), "whole");
}

void products(const shoal::Communicator& world) {
  constexpr shoal::Index m = 6;
  constexpr shoal::Index n = 5;
  constexpr shoal::Index k = 8;
  const shoal::Block mine = shoal::block_of(k, world.size(), world.rank());
  const shoal::Buffer<float> a(m * mine.size, shoal::Memory::node_shared);
  const shoal::Buffer<float> b(mine.size * n, shoal::Memory::node_shared);
  const shoal::Buffer<float> c(m * n, shoal::Memory::node_shared);
  std::ranges::fill(a, 1.0f);
  std::ranges::fill(b, 2.0f);
  // A divided by columns and B by rows: every rank has a term of the sum, and C is whole everywhere.
  shoal::kernels::matmul(world, m, n, k, a.data(), shoal::Shard(1), b.data(), shoal::Shard(0), c.data(),
                         shoal::Replicate());
  for (const float value : c) require(value == 2 * k, "product");
}

void sums(const shoal::Communicator& world) {
  std::vector<float> gradients(1000, 0.1f * static_cast<float>(world.rank()));
  shoal::CollectiveOptions options;
  options.reproducible = true;  // the same bits on any number of ranks
  shoal::all_reduce(world, std::span(gradients), shoal::ReduceOp::sum, options);
  require(std::abs(gradients[0] - 0.6f) < 1e-6f, "sum");

  options.reproducible = false;
  options.algorithm = "ring";  // instead of the one that is cheapest here
  shoal::all_reduce(world, std::span(gradients), shoal::ReduceOp::max, options);
}

void checkpoints(const shoal::Communicator& world, const std::filesystem::path& folder) {
  const shoal::Block mine = shoal::block_of(100, world.size(), world.rank());
  std::vector<float> weights(static_cast<std::size_t>(mine.size), 1.0f);
  const shoal::TensorSlice slice{"weights", shoal::DType::f32, {100}, {mine}, weights.data()};
  shoal::save_checkpoint(world, folder, 500, std::span(&slice, 1), {{"note", std::string("first try")}});

  const shoal::Checkpoint checkpoint = shoal::Checkpoint::open(world, folder);  // the newest that is whole
  std::vector<float> half(50);  // any range, whoever wrote it
  checkpoint.read("weights", std::vector<shoal::Block>{{0, 50}}, half.data(), shoal::DType::f32);
  require(checkpoint.step() == 500 && half[49] == 1 && checkpoint.text("note") == "first try", "checkpoint");
}

void errors(const shoal::Communicator& world) {
  std::vector<float> x(10);
  bool caught = false;
  try {
    shoal::broadcast(world, std::span(x), 99);
  } catch (const shoal::PeerError&) {
    throw;  // another rank is gone: let it end the run
  } catch (const shoal::Error& error) {
    std::string text = error.what();  // "rank 3 on node7: broadcast over world: root 99 ..."
    caught = text.find("99") != std::string::npos;
  }
  require(caught, "error");
}

}  // namespace

int main(int, char** arguments) {
  return shoal::run_main({}, [arguments](shoal::Runtime& runtime) {
    const shoal::Communicator& world = runtime.world();
    meshes(world);
    placements(world);
    products(world);
    sums(world);
    checkpoints(world, arguments[1]);
    errors(world);
    if (world.rank() == 0) std::printf("%d ranks: all as the guide says\n", world.size());
    return 0;
  });
}
