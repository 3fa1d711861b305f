#include <shoal/kernels/parallel/matmul.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <shoal/collectives/redistribute.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>

#include "matmul_grid.hpp"
#include "matmul_in_place.hpp"
#include "matmul_layout.hpp"

namespace shoal::kernels {
namespace {

constexpr const char* matmul_algorithms[] = {"in_place", "row", "column", "summa", "2.5d"};

void check_matmul(Index m, Index n, Index k, const MatmulOptions& options) {
  for (const auto& [name, value] : {std::pair{"m", m}, std::pair{"n", n}, std::pair{"k", k}}) {
    if (value < 0) {
      throw Error("matmul", fmt::format("{} = {} is negative", name, value));
    }
  }
  if (!options.algorithm.empty() &&
      std::find(std::begin(matmul_algorithms), std::end(matmul_algorithms), options.algorithm) ==
          std::end(matmul_algorithms)) {
    throw UsageError("matmul", "unknown algorithm '" + options.algorithm + "'",
                     "use in_place, row, column, summa or 2.5d");
  }
}

// The part of a rank with these places along the axes; partial counts as whole.
Rect rect_at(Index rows, Index cols, const std::vector<Placement>& placements,
             const std::vector<int>& sizes, const std::vector<int>& coordinates) {
  Rect rect{{0, rows}, {0, cols}};
  for (std::size_t axis = 0; axis < placements.size(); ++axis) {
    if (placements[axis].kind != Placement::Kind::shard) continue;
    Block& along = placements[axis].dim == 0 ? rect.rows : rect.cols;
    const Block block = block_of(along.size, sizes[axis], coordinates[axis]);
    along = {along.begin + block.begin, block.size};
  }
  return rect;
}

// Ranks along axes, the last one varying fastest.
Layout layout_of(Index rows, Index cols, const std::vector<Placement>& placements,
                 const std::vector<int>& sizes, int ranks) {
  std::vector<Rect> rects;
  for (Rank rank = 0; rank < ranks; ++rank) {
    std::vector<int> coordinates(sizes.size());
    int rest = rank;
    for (std::size_t axis = sizes.size(); axis-- > 0;) {
      coordinates[axis] = rest % sizes[axis];
      rest /= sizes[axis];
    }
    rects.push_back(rect_at(rows, cols, placements, sizes, coordinates));
  }
  return Layout(std::move(rects));
}

bool is_partial(const Placement& placement) { return placement.kind == Placement::Kind::partial; }

// Terms are no parts: a partial matrix is divided by rows instead.
std::vector<Placement> whole_parts(std::vector<Placement> placements) {
  std::replace_if(placements.begin(), placements.end(), is_partial, Shard(0));
  return placements;
}

void tell_matmul(const Product& p, const std::string& chosen) {
  if (!log::wants("kernels")) return;
  log::info(fmt::format("matmul {}x{}x{} over {} ranks: {}", p.m, p.n, p.k, p.ranks->size(),
                        chosen));
}

void multiply_product(const Product& p, const MatmulOptions& options) {
  if (p.m == 0 || p.n == 0) return;
  const bool any = options.algorithm.empty();
  if ((any || options.algorithm == "in_place") && p.ranks->on_one_node()) {
    if (matmul_in_place(p, options.precision)) return tell_matmul(p, "in place");
  }
  if (options.algorithm == "in_place") {
    throw Error("matmul", "a rank's part is not in memory that all ranks see",
                "keep A, B and C in node-shared Buffers, on one node");
  }
  std::vector<Grid> grids = grids_for(p);
  if (!any) {
    std::vector<Grid> named;
    std::copy_if(grids.begin(), grids.end(), std::back_inserter(named),
                 [&](const Grid& grid) { return grid.name() == options.algorithm; });
    // One rank, or too few for it: any grid is a case of it.
    if (!named.empty()) grids = std::move(named);
  }
  const auto fits = std::find_if(grids.begin(), grids.end(), [&](const Grid& grid) {
    return grid.room <= options.spare_memory;
  });
  const Grid& grid = fits != grids.end()
                         ? *fits
                         : *std::min_element(grids.begin(), grids.end(),
                                             [](const Grid& a, const Grid& b) {
                                               return a.room < b.room;
                                             });
  if (log::wants("kernels")) {
    std::string text = fmt::format("{} ({:.3g} ms)", grid.text(), 1e3 * grid.seconds);
    for (const Grid& other : grids) {
      if (&other == &grid) continue;
      text += fmt::format("; not {} ({:.3g} ms)", other.text(), 1e3 * other.seconds);
      if (text.size() > 200) break;
    }
    tell_matmul(p, text);
  }
  matmul_on_grid(p, grid, options.precision);
}

// `redistribute_to(shape, source, from, target, to)` is that of a communicator or of a mesh.
template <class Redistribute>
void matmul_over(const Communicator& ranks, const std::vector<int>& sizes, Index m, Index n,
                 Index k, const float* a, const std::vector<Placement>& a_at, const float* b,
                 const std::vector<Placement>& b_at, float* c, const std::vector<Placement>& c_at,
                 const MatmulOptions& options, const Redistribute& redistribute_to) {
  check_matmul(m, n, k, options);
  const auto layout = [&](Index rows, Index cols, const std::vector<Placement>& placements) {
    return layout_of(rows, cols, whole_parts(placements), sizes, ranks.size());
  };
  Product product{&ranks, m, n, k, a, b, c, layout(m, k, a_at), layout(k, n, b_at),
                  layout(m, n, c_at)};
  const auto me = static_cast<std::size_t>(ranks.rank());
  const auto has_terms = [](const std::vector<Placement>& placements) {
    return std::any_of(placements.begin(), placements.end(), is_partial);
  };
  Buffer<float> whole_a, whole_b, whole_c;
  const auto add_up = [&](Index rows, Index cols, const float* terms,
                          const std::vector<Placement>& at, const Layout& parts,
                          Buffer<float>& room) {
    room = Buffer<float>(parts.of_rank[me].area(), Memory::node_shared);
    redistribute_to(Shape{rows, cols}, terms, at, room.data(), whole_parts(at));
    return room.data();
  };
  if (has_terms(a_at)) product.a = add_up(m, k, a, a_at, product.a_at, whole_a);
  if (has_terms(b_at)) product.b = add_up(k, n, b, b_at, product.b_at, whole_b);
  if (has_terms(c_at)) {
    whole_c = Buffer<float>(product.c_at.of_rank[me].area(), Memory::node_shared);
    product.c = whole_c.data();
  }
  multiply_product(product, options);
  if (has_terms(c_at)) {
    redistribute_to(Shape{m, n}, whole_c.data(), whole_parts(c_at), c, c_at);
  }
}

}  // namespace

void matmul(const Communicator& ranks, Index m, Index n, Index k, const float* a,
            const Placement& a_at, const float* b, const Placement& b_at, float* c,
            const Placement& c_at, const MatmulOptions& options) {
  matmul_over(ranks, {ranks.size()}, m, n, k, a, {a_at}, b, {b_at}, c, {c_at}, options,
              [&](const Shape& shape, const void* source, const std::vector<Placement>& from,
                  void* target, const std::vector<Placement>& to) {
                redistribute(ranks, shape, DType::f32, source, from[0], target, to[0]);
              });
}

void matmul(const Mesh& mesh, Index m, Index n, Index k, const float* a,
            const std::vector<Placement>& a_at, const float* b,
            const std::vector<Placement>& b_at, float* c, const std::vector<Placement>& c_at,
            const MatmulOptions& options) {
  std::vector<int> sizes;
  for (const MeshShape::Axis& axis : mesh.shape().axes) sizes.push_back(axis.size);
  for (const auto* placements : {&a_at, &b_at, &c_at}) {
    if (placements->size() != sizes.size()) {
      throw Error("matmul",
                  fmt::format("{} placements, but mesh {} has {} axes", placements->size(),
                              mesh.shape().text(), sizes.size()),
                  "pass one placement for each axis");
    }
  }
  matmul_over(mesh.all(), sizes, m, n, k, a, a_at, b, b_at, c, c_at, options,
              [&](const Shape& shape, const void* source, const std::vector<Placement>& from,
                  void* target, const std::vector<Placement>& to) {
                redistribute(mesh, shape, DType::f32, source, from, target, to);
              });
}

}  // namespace shoal::kernels
