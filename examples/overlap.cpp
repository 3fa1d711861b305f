// Sums gradients over all ranks while the layer below is still being computed.
#include <algorithm>
#include <cstdio>
#include <span>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/runtime.hpp>

namespace {

void backward(std::span<float> gradients, float value) { std::ranges::fill(gradients, value); }

}  // namespace

int main() {
  return shoal::run_main({}, [](shoal::Runtime& runtime) {
    const shoal::Mesh mesh(runtime.world(), {{{"dp", runtime.world().size()}}});
    const shoal::Communicator& dp = mesh.axis("dp");

    constexpr shoal::Index count = 100000;
    const shoal::Buffer<float> above(count, shoal::Memory::node_shared);
    const shoal::Buffer<float> below(count, shoal::Memory::node_shared);

    backward(above.span(), 1);
    shoal::Work sum = shoal::start_all_reduce(dp, above.span(), shoal::ReduceOp::sum);
    backward(below.span(), 2);  // the layer below, meanwhile
    sum.wait();

    shoal::all_reduce(dp, below.span(), shoal::ReduceOp::sum);
    if (dp.rank() == 0) std::printf("%d ranks: %.0f, %.0f\n", dp.size(), above[0], below[count - 1]);
    return 0;
  });
}
