#include <shoal/kernels/parallel/matmul.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>

#include <fmt/format.h>
#include <shoal/bench/bench.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>

#include "one_process.hpp"
#include "report.hpp"
#include "scalapack.hpp"
#include "timing.hpp"
#include "train_configs.hpp"

namespace shoal::bench {
namespace {

// Small whole numbers, so that every sum is exact in fp32 and bf16 alike: a wrong element shows.
float left_element(Index row, Index col) { return static_cast<float>((row * 7 + col * 3) % 5 - 2); }
float right_element(Index row, Index col) { return static_cast<float>((row * 5 + col) % 7 - 3); }

// Once before it is timed, so that it finds caches and threads as it leaves them and not as another way
// did: the first product of a thread that has just been made takes twice as long.
double all_at_once(const Communicator& world, const std::function<void()>& call) {
  call();
  barrier(world);
  const auto start = std::chrono::steady_clock::now();
  call();
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  all_reduce(world, &seconds, &seconds, 1, DType::f64, ReduceOp::max);
  return seconds;
}

}  // namespace

void matmul(const Communicator& world, const MatmulOptions& options) {
  if (options.rounds < 1) throw UsageError("bench matmul", "--rounds must be 1 or more");
  for (const std::string& type : options.types) train_precision(type);
  Report report(world, options.json);
  const OneProcess one(world);
  const bool speaks = world.rank() == 0;
  if (speaks) {
    fmt::print("C = A B, all divided by rows over {} ranks; E: speed over that of one process with "
               "{} threads\n{:<5} {:>6} {:>10} {:>9} {:>12} {:>9} {:>6} {:>11} {:>9}\n",
               world.size(), one.threads(), "dtype", "n", "ranks ms", "GFLOP/s", "process ms",
               "GFLOP/s", "E", "ScaLAPACK", "of it");
  }
  for (const std::string& type : options.types) {
    kernels::MatmulOptions how;
    how.precision = train_precision(type);
    how.algorithm = options.algorithm;
    for (const Index n : options.sizes) {
      const Block mine = block_of(n, world.size(), world.rank());
      const Memory memory = options.memory;
      const Buffer<float> a(mine.size * n, memory), b(mine.size * n, memory),
          c(mine.size * n, memory);
      for (Index i = 0; i < mine.size; ++i) {
        for (Index j = 0; j < n; ++j) {
          a[i * n + j] = left_element(mine.begin + i, j);
          b[i * n + j] = right_element(mine.begin + i, j);
        }
      }
      const Index whole = speaks ? n * n : 0;
      const Buffer<float> whole_a(whole), whole_b(whole), whole_c(whole);
      for (Index i = 0; i < whole; ++i) {
        whole_a[i] = left_element(i / n, i % n);
        whole_b[i] = right_element(i / n, i % n);
      }
      const auto peer = type == "fp32" ? ScalapackProduct::find(world, n) : nullptr;
      const auto by_ranks = [&] {
        kernels::matmul(world, n, n, n, a.data(), Shard(0), b.data(), Shard(0), c.data(), Shard(0),
                        how);
      };
      const auto by_one = [&] {
        kernels::gemm(kernels::Trans::no, kernels::Trans::no, n, n, n, 1.0f, whole_a.data(), n,
                      whole_b.data(), n, 0.0f, whole_c.data(), n, how.precision);
      };
      std::vector<double> ours, process, theirs;
      for (int round = -1; round < options.rounds; ++round) {  // the first one warms up
        const double mine_s = all_at_once(world, by_ranks);
        const double one_s = one.run(by_one, 1);
        const double peer_s = peer ? all_at_once(world, [&] { peer->run(); }) : 0;
        if (round < 0) continue;
        ours.push_back(mine_s);
        process.push_back(one_s);
        theirs.push_back(peer_s);
      }
      // Rank 0 has the first rows of both.
      for (Index i = 0; speaks && i < c.size(); ++i) {
        if (c[i] != whole_c[i]) {
          throw Error("bench matmul",
                      fmt::format("element {} is {}, one process says {}", i, c[i], whole_c[i]),
                      "report this");
        }
      }
      const double ours_s = median(ours), one_s = median(process), peer_s = median(theirs);
      const double operations = 2.0 * std::pow(static_cast<double>(n), 3);
      if (speaks) {
        fmt::print("{:<5} {:>6} {:>10.2f} {:>9.1f} {:>12.2f} {:>9.1f} {:>6.3f}", type, n,
                   ours_s * 1e3, operations / ours_s * 1e-9, one_s * 1e3,
                   operations / one_s * 1e-9, one_s / ours_s);
        if (peer) {
          fmt::print(" {:>9.2f}ms {:>9.2f}", peer_s * 1e3, peer_s / ours_s);
        }
        fmt::print("\n");
        std::fflush(stdout);
      }
      Row row;
      row.op = "matmul";
      row.shape = fmt::format("{0}x{0}x{0}", n);
      row.algorithm = options.algorithm.empty() ? "auto" : options.algorithm;
      row.median_us = ours_s * 1e6;
      if (peer) {
        row.peer = "ScaLAPACK psgemm";
        row.peer_us = peer_s * 1e6;
      }
      row.bound_us = one_s * 1e6;
      row.more = {{"gflops", operations / ours_s * 1e-9}, {"e", one_s / ours_s}};
      row.notes = {{"dtype", type}};
      report.add(std::move(row));
    }
  }
  report.write();
}

}  // namespace shoal::bench
