// Law: a product of divided matrices is the product of the whole ones, for every placement, every grid
// and any extents.
#include <shoal/kernels/parallel/matmul.hpp>

#include <shoal/collectives/barrier.hpp>
#include <shoal/collectives/redistribute.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>

#include "twin.hpp"

namespace shoal::testing {
namespace {

using kernels::matmul;
using kernels::MatmulOptions;

struct Extents3 {
  Index m, n, k;
};

// fp64 sums, and the sum of magnitudes behind the tolerance: k roundings of it at most, and one for each
// term that ranks hand over.
struct Reference {
  std::vector<double> value, size;
};

Reference reference_product(const Extents3& e, const Matrix& a, const Matrix& b) {
  Reference reference;
  for (Index i = 0; i < e.m; ++i) {
    for (Index j = 0; j < e.n; ++j) {
      double sum = 0, size = 0;
      for (Index l = 0; l < e.k; ++l) {
        const double product = double{a[static_cast<std::size_t>(i * e.k + l)]} *
                               double{b[static_cast<std::size_t>(l * e.n + j)]};
        sum += product;
        size += std::fabs(product);
      }
      reference.value.push_back(sum);
      reference.size.push_back(size);
    }
  }
  return reference;
}

// A rank's part of a whole matrix, in memory of the kind asked for. A term: rank 0 of the axis has the
// whole and more, the others take that back.
Buffer<float> part_of(const Mesh& mesh, const Matrix& whole, Index rows, Index cols,
                      const std::vector<Placement>& at, Memory memory) {
  const Shape shape{rows, cols};
  Buffer<float> part(local_shape(mesh, shape, at).size(), memory);
  redistribute(mesh, shape, DType::f32, whole.data(),
               std::vector<Placement>(at.size(), Replicate()), part.data(), at);
  return part;
}

void check_matmul_case(const Mesh& mesh, const Extents3& e, const std::vector<Placement>& a_at,
                       const std::vector<Placement>& b_at, const std::vector<Placement>& c_at,
                       const MatmulOptions& options, Memory memory) {
  std::mt19937_64 random = generator();
  const Matrix a = random_matrix(random, e.m * e.k);
  const Matrix b = random_matrix(random, e.k * e.n);
  const Buffer<float> my_a = part_of(mesh, a, e.m, e.k, a_at, memory);
  const Buffer<float> my_b = part_of(mesh, b, e.k, e.n, b_at, memory);
  const Shape shape{e.m, e.n};
  Buffer<float> my_c(local_shape(mesh, shape, c_at).size(), memory);
  for (float& value : my_c) value = std::nanf("");
  barrier(mesh.all());  // others may write what is poisoned here
  matmul(mesh, e.m, e.n, e.k, my_a.data(), a_at, my_b.data(), b_at, my_c.data(), c_at, options);

  Matrix c(static_cast<std::size_t>(e.m * e.n));
  redistribute(mesh, shape, DType::f32, my_c.data(), c_at, c.data(),
               std::vector<Placement>(c_at.size(), Replicate()));
  const Reference expected = reference_product(e, a, b);
  for (std::size_t i = 0; i < c.size(); ++i) {
    const double tolerance =
        (static_cast<double>(e.k) + mesh.all().size() + 4) * 0x1p-24 * (expected.size[i] + 1e-30);
    ASSERT_NEAR(c[i], expected.value[i], tolerance) << "element " << i;
  }
}

const std::vector<Placement>& some_placements() {
  static const std::vector<Placement> all = {Shard(0), Shard(1), Replicate(), Partial()};
  return all;
}

TEST(Matmul, AnyPlacementsInPlaceAndByMessages) {
  const Mesh mesh(world(), MeshShape::parse("tp=" + std::to_string(world().size())));
  for (const Memory memory : {Memory::node_shared, Memory::local}) {
    for (const Placement& a : some_placements()) {
      for (const Placement& b : some_placements()) {
        for (const Placement& c : some_placements()) {
          SCOPED_TRACE(a.text() + b.text() + c.text() +
                       (memory == Memory::local ? " local" : " shared"));
          ASSERT_NO_FATAL_FAILURE(check_matmul_case(mesh, {13, 9, 11}, {a}, {b}, {c}, {}, memory));
        }
      }
    }
  }
}

TEST(Matmul, EveryAlgorithmAndExtent) {
  const Mesh mesh(world(), MeshShape::parse("tp=" + std::to_string(world().size())));
  for (const char* algorithm : {"row", "column", "summa", "2.5d", ""}) {
    for (const Extents3& e : {Extents3{1, 1, 1}, Extents3{7, 2, 3}, Extents3{2, 3, 301},
                              Extents3{40, 3, 2}, Extents3{3, 50, 17}, Extents3{33, 31, 700},
                              Extents3{5, 4, 0}, Extents3{0, 4, 3}, Extents3{4, 0, 3}}) {
      for (const Memory memory : {Memory::node_shared, Memory::local}) {
        SCOPED_TRACE(std::string(algorithm) + ' ' + std::to_string(e.m) + 'x' +
                     std::to_string(e.n) + 'x' + std::to_string(e.k));
        MatmulOptions options;
        options.algorithm = algorithm;
        ASSERT_NO_FATAL_FAILURE(check_matmul_case(mesh, e, {Shard(0)}, {Shard(0)}, {Shard(0)},
                                                  options, memory));
        options.spare_memory = 0;
        ASSERT_NO_FATAL_FAILURE(check_matmul_case(mesh, e, {Shard(1)}, {Shard(0)}, {Shard(1)},
                                                  options, memory));
      }
    }
  }
}

TEST(Matmul, SeveralPanels) {
  const Mesh mesh(world(), MeshShape::parse("tp=" + std::to_string(world().size())));
  const Index rows = 65 * world().size();
  for (const Placement& right : {Replicate(), Shard(0)}) {
    ASSERT_NO_FATAL_FAILURE(check_matmul_case(mesh, {rows, 66, 1100}, {Shard(0)}, {right},
                                              {Shard(0)}, {}, Memory::node_shared));
  }
}

TEST(Matmul, OverAMesh) {
  for (int rows = 2; rows < world().size(); ++rows) {
    if (world().size() % rows != 0) continue;
    const int cols = world().size() / rows;
    const Mesh mesh(world(), MeshShape::parse("dp=" + std::to_string(rows) +
                                              ",tp=" + std::to_string(cols)));
    for (const Memory memory : {Memory::node_shared, Memory::local}) {
      const std::vector<Placement> blocks = {Shard(0), Shard(1)};
      ASSERT_NO_FATAL_FAILURE(
          check_matmul_case(mesh, {17, 23, 29}, blocks, blocks, blocks, {}, memory));
      ASSERT_NO_FATAL_FAILURE(check_matmul_case(mesh, {17, 23, 29}, {Shard(0), Shard(0)},
                                                {Replicate(), Shard(1)}, {Shard(1), Replicate()},
                                                {}, memory));
      ASSERT_NO_FATAL_FAILURE(check_matmul_case(mesh, {5, 3, 29}, {Partial(), Shard(1)},
                                                {Shard(0), Partial()}, {Shard(0), Partial()}, {},
                                                memory));
    }
  }
}

TEST(Matmul, RefusesWhatMakesNoSense) {
  const Communicator& ranks = world();
  Buffer<float> x(64);
  MatmulOptions options;
  options.algorithm = "cannon";
  EXPECT_THROW(matmul(ranks, 4, 4, 4, x.data(), Replicate(), x.data() + 16, Replicate(),
                      x.data() + 32, Replicate(), options),
               UsageError);
  // Private memory; a rank by itself need not see another's.
  options.algorithm = "in_place";
  const auto in_place = [&] {
    matmul(ranks, 4, 4, 4, x.data(), Replicate(), x.data() + 16, Replicate(), x.data() + 32,
           Replicate(), options);
  };
  if (ranks.size() == 1) EXPECT_NO_THROW(in_place());
  else EXPECT_THROW(in_place(), Error);
  EXPECT_THROW(matmul(ranks, -1, 4, 4, x.data(), Replicate(), x.data() + 16, Replicate(),
                      x.data() + 32, Replicate()),
               Error);
}

}  // namespace
}  // namespace shoal::testing
