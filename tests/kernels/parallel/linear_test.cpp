// Law: a linear layer divided over any number of ranks computes what its serial twin computes,
// forward and backward.
#include <shoal/kernels/parallel/linear.hpp>

#include <shoal/runtime/buffer.hpp>

#include "twin.hpp"

namespace shoal::testing {
namespace {

using kernels::ColumnParallelLinear;
using kernels::Gradients;
using kernels::Precision;
using kernels::RowParallelLinear;

struct Shape2 {
  Index rows, in, out;
};

struct Twin {
  Matrix y, dx, dweight, dbias;
};

class ParallelLinear : public ::testing::TestWithParam<Shape2> {
 protected:
  void SetUp() override {
    const auto [rows, in, out] = GetParam();
    std::mt19937_64 random = generator();
    x = random_matrix(random, rows * in);
    weight = random_matrix(random, out * in);
    bias = random_matrix(random, out);
    dy = random_matrix(random, rows * out);
    dweight0 = random_matrix(random, out * in);
    dbias0 = random_matrix(random, out);
  }

  Twin serial() const {
    const auto [rows, in, out] = GetParam();
    const Communicator self = alone();
    const ColumnParallelLinear layer(self, in, out, Precision::fp32);
    Twin twin{poisoned(rows * out), poisoned(rows * in), dweight0, dbias0};
    layer.forward(rows, x.data(), weight.data(), bias.data(), twin.y.data());
    layer.backward(rows, x.data(), weight.data(), dy.data(), twin.dx.data(), twin.dweight.data(),
                   twin.dbias.data());
    return twin;
  }

  Block mine(Index extent) const { return block_of(extent, world().size(), world().rank()); }

  Matrix x, weight, bias, dy, dweight0, dbias0;
};

TEST_P(ParallelLinear, SerialTwinIsTheDefinition) {
  const auto [rows, in, out] = GetParam();
  const Twin twin = serial();
  Matrix expected(twin.y.size());
  for (Index r = 0; r < rows; ++r) {
    for (Index o = 0; o < out; ++o) {
      double sum = bias[static_cast<std::size_t>(o)];
      for (Index i = 0; i < in; ++i) {
        sum += double{x[static_cast<std::size_t>(r * in + i)]} *
               double{weight[static_cast<std::size_t>(o * in + i)]};
      }
      expected[static_cast<std::size_t>(r * out + o)] = static_cast<float>(sum);
    }
  }
  expect_close(twin.y, expected, in, "y");
}

TEST_P(ParallelLinear, ColumnEqualsTwin) {
  const auto [rows, in, out] = GetParam();
  const Twin twin = serial();
  const Block block = mine(out);
  const ColumnParallelLinear layer(world(), in, block.size, Precision::fp32);
  const Matrix w = rows_of(weight, in, block);
  const Matrix b = rows_of(bias, 1, block);
  const Matrix local_dy = cols_of(dy, out, block);
  Matrix y = poisoned(rows * block.size);
  Matrix dx = poisoned(rows * in);
  Matrix dw = rows_of(dweight0, in, block);
  Matrix db = rows_of(dbias0, 1, block);
  layer.forward(rows, x.data(), w.data(), b.data(), y.data());
  layer.backward(rows, x.data(), w.data(), local_dy.data(), dx.data(), dw.data(), db.data());
  expect_close(y, cols_of(twin.y, out, block), in, "y");
  expect_close(dx, twin.dx, out, "dx");
  expect_close(dw, rows_of(twin.dweight, in, block), rows, "dweight");
  expect_close(db, rows_of(twin.dbias, 1, block), rows, "dbias");
}

TEST_P(ParallelLinear, RowEqualsTwin) {
  const auto [rows, in, out] = GetParam();
  const Twin twin = serial();
  const Block block = mine(in);
  const RowParallelLinear layer(world(), block.size, out, Precision::fp32);
  const Matrix w = cols_of(weight, in, block);
  const Matrix local_x = cols_of(x, in, block);
  const Buffer<float> y(rows * out, Memory::node_shared);
  Matrix dx = poisoned(rows * block.size);
  Matrix dw = cols_of(dweight0, in, block);
  Matrix db = dbias0;
  layer.forward(rows, local_x.data(), w.data(), bias.data(), y.data());
  layer.backward(rows, local_x.data(), w.data(), dy.data(), dx.data(), dw.data(), db.data());
  expect_close(Matrix(y.begin(), y.end()), twin.y, in, "y");
  expect_close(dx, cols_of(twin.dx, in, block), out, "dx");
  expect_close(dw, cols_of(twin.dweight, in, block), rows, "dweight");
  expect_close(db, twin.dbias, rows, "dbias");
}

// With activations divided by rows, in memory that others see (products read and add in place) and in
// memory that they do not (chunks travel).
TEST_P(ParallelLinear, ByRowsEqualsTwin) {
  const auto [rows, in, out] = GetParam();
  const Twin twin = serial();
  const Block mine_rows = mine(rows), mine_in = mine(in), mine_out = mine(out);
  const auto buffer = [](const Matrix& from, Memory memory) {
    // One more, so that a rank without rows has an address: null would say that nobody wants dx.
    Buffer<float> copy(static_cast<Index>(from.size()) + 1, memory);
    std::copy(from.begin(), from.end(), copy.begin());
    return copy;
  };
  const auto matrix = [](const Buffer<float>& from) {
    return Matrix(from.begin(), from.end() - 1);
  };
  for (const Memory memory : {Memory::node_shared, Memory::local}) {
    for (const Gradients how : {Gradients::add, Gradients::overwrite}) {
      const bool adds = how == Gradients::add;
      const Matrix dweight = adds ? dweight0 : poisoned(out * in);
      const Matrix dbias = adds ? dbias0 : poisoned(out);
      Matrix expected_dw = twin.dweight, expected_db = twin.dbias;
      for (std::size_t i = 0; !adds && i < expected_dw.size(); ++i) expected_dw[i] -= dweight0[i];
      for (std::size_t i = 0; !adds && i < expected_db.size(); ++i) expected_db[i] -= dbias0[i];
      {
        const ColumnParallelLinear layer(world(), in, mine_out.size, Precision::fp32,
                                         kernels::Activations::by_rows);
        const Matrix w = rows_of(weight, in, mine_out), b = rows_of(bias, 1, mine_out);
        const Matrix local_dy = cols_of(dy, out, mine_out);
        const Buffer<float> local_x = buffer(rows_of(x, in, mine_rows), memory);
        const Buffer<float> dx = buffer(poisoned(mine_rows.size * in), memory);
        Matrix y = poisoned(rows * mine_out.size);
        Matrix dw = rows_of(dweight, in, mine_out), db = rows_of(dbias, 1, mine_out);
        layer.forward(rows, local_x.data(), w.data(), b.data(), y.data());
        layer.backward(rows, local_x.data(), w.data(), local_dy.data(), dx.data(), dw.data(),
                       db.data(), how);
        expect_close(y, cols_of(twin.y, out, mine_out), in, "y by columns");
        expect_close(matrix(dx), rows_of(twin.dx, in, mine_rows), out, "dx by columns");
        expect_close(dw, rows_of(expected_dw, in, mine_out), rows + 2, "dweight by columns");
        expect_close(db, rows_of(expected_db, 1, mine_out), rows + 2, "dbias by columns");
      }
      {
        const RowParallelLinear layer(world(), mine_in.size, out, Precision::fp32,
                                      kernels::Activations::by_rows);
        const Matrix w = cols_of(weight, in, mine_in), local_x = cols_of(x, in, mine_in);
        const Buffer<float> local_dy = buffer(rows_of(dy, out, mine_rows), memory);
        const Buffer<float> y = buffer(poisoned(mine_rows.size * out), memory);
        Matrix dx = poisoned(rows * mine_in.size);
        Matrix dw = cols_of(dweight, in, mine_in), db = dbias;
        layer.forward(rows, local_x.data(), w.data(), bias.data(), y.data());
        layer.backward(rows, local_x.data(), w.data(), local_dy.data(), dx.data(), dw.data(),
                       db.data(), how);
        expect_close(matrix(y), rows_of(twin.y, out, mine_rows), in, "y by rows");
        expect_close(dx, cols_of(twin.dx, in, mine_in), out, "dx by rows");
        expect_close(dw, cols_of(expected_dw, in, mine_in), rows + 2, "dweight by rows");
        expect_close(db, expected_db, rows + 2, "dbias by rows");
      }
    }
  }
}

TEST_P(ParallelLinear, OverwritingEqualsAddingToZeros) {
  const auto [rows, in, out] = GetParam();
  const Communicator self = alone();
  const auto gradients_of = [&](const auto& layer, Matrix dw, Matrix db, Gradients how) {
    Matrix dx = poisoned(rows * in);
    layer.backward(rows, x.data(), weight.data(), dy.data(), dx.data(), dw.data(), db.data(), how);
    dw.insert(dw.end(), db.begin(), db.end());
    return dw;
  };
  const auto both = [&](const auto& layer) {
    const Matrix added = gradients_of(layer, Matrix(weight.size(), 0.0f), Matrix(bias.size(), 0.0f),
                                      Gradients::add);
    const Matrix written =
        gradients_of(layer, poisoned(in * out), poisoned(out), Gradients::overwrite);
    expect_close(written, added, rows, "gradients");
  };
  both(ColumnParallelLinear(self, in, out, Precision::fp32));
  both(RowParallelLinear(self, in, out, Precision::fp32));
}

INSTANTIATE_TEST_SUITE_P(Shapes, ParallelLinear,
                         ::testing::Values(Shape2{1, 8, 8}, Shape2{5, 16, 24}, Shape2{33, 17, 29},
                                           Shape2{64, 128, 96}, Shape2{7, 3, 2}, Shape2{701, 9, 12},
                                           Shape2{2100, 9, 12}));

}  // namespace
}  // namespace shoal::testing
