// y = A x with the columns of A divided over all ranks: each multiplies its part, all_reduce adds.
#include <cstdio>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/runtime.hpp>

int main() {
  return shoal::run_main({}, [](shoal::Runtime& runtime) {
    const shoal::Mesh mesh(runtime.world(), {{{"tp", runtime.world().size()}}});
    const shoal::Communicator& tp = mesh.axis("tp");

    constexpr shoal::Index rows = 1000;
    constexpr shoal::Index cols = 5000;
    const shoal::Block mine = shoal::block_of(cols, tp.size(), tp.rank());
    const shoal::Buffer<double> y(rows, shoal::Memory::node_shared);  // zero at first
    for (shoal::Index i = 0; i < rows; ++i) {
      for (shoal::Index j = mine.begin; j < mine.end(); ++j) {
        y[i] += static_cast<double>(i + j);  // A(i, j) = i + j, x = 1
      }
    }
    shoal::all_reduce(tp, y.span(), shoal::ReduceOp::sum);

    if (tp.rank() == 0) std::printf("%d ranks: y[%d] = %.0f\n", tp.size(), 999, y[999]);
    return 0;
  });
}
