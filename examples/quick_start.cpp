// The largest eigenvalue of a matrix whose rows are divided over all ranks, by power iteration.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include <shoal/collectives/collectives.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/runtime.hpp>

int main() {
  return shoal::run_main({}, [](shoal::Runtime& runtime) {
    const shoal::Communicator& world = runtime.world();
    constexpr shoal::Index n = 1000;
    const shoal::Block mine = shoal::block_of(n, world.size(), world.rank());

    const shoal::Buffer<double> a(mine.size * n);  // this rank's rows of A(i, j) = min(i, j) + 1
    for (shoal::Index i = 0; i < mine.size; ++i)
      for (shoal::Index j = 0; j < n; ++j) a[i * n + j] = std::min(mine.begin + i, j) + 1.0;
    const shoal::Buffer<double> x(n, shoal::Memory::node_shared);  // whole on every rank
    const shoal::Buffer<double> y(mine.size, shoal::Memory::node_shared);  // its part of A x
    std::ranges::fill(x, 1.0);

    double norm = 0;
    for (int step = 0; step < 20; ++step) {
      for (shoal::Index i = 0; i < mine.size; ++i)
        y[i] = std::inner_product(x.begin(), x.end(), &a[i * n], 0.0);
      double square = std::inner_product(y.begin(), y.end(), y.begin(), 0.0);
      shoal::all_reduce(world, std::span(&square, 1), shoal::ReduceOp::sum);
      norm = std::sqrt(square);
      for (double& value : y) value /= norm;
      redistribute(world, {n}, shoal::DType::f64, y.data(), shoal::Shard(0), x.data(),
                   shoal::Replicate());
    }
    if (world.rank() == 0)
      std::printf("%d ranks: the largest eigenvalue is %.4f\n", world.size(), norm);
    return 0;
  });
}
