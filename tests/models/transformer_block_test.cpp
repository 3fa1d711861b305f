// Law: a transformer block over any number of ranks computes what it computes on one, forward and
// backward, with all rows on every rank and with the rows divided.
#include <shoal/models/transformer_block.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

using kernels::Activations;
using models::GptConfig;
using models::Parameter;
using models::TransformerBlock;

struct Case {
  Index batch, time;
  bool bias;
  float dropout;
  kernels::Precision precision;
};

GptConfig config_of(const Case& c) {
  GptConfig config;
  config.heads = 2 * world().size();
  config.width = 4 * config.heads;
  config.bias = c.bias;
  config.dropout = c.dropout;
  config.precision = c.precision;
  return config;
}

std::vector<float> normal_values(std::mt19937_64& random, Index count) {
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// Element of the whole tensor that the i-th element of this rank's part is.
Index place_in_whole(const Parameter& parameter, Index i) {
  const Shape strides = row_major_strides(parameter.global);
  Index place = 0;
  for (int dim = parameter.global.dims() - 1; dim >= 0; --dim) {
    const Block& part = parameter.block[static_cast<std::size_t>(dim)];
    place += (part.begin + i % part.size) * strides[dim];
    i /= part.size;
  }
  return place;
}

class OneBlock : public ::testing::TestWithParam<Case> {};

TEST_P(OneBlock, EqualsItsSerialTwin) {
  const Case& c = GetParam();
  const GptConfig config = config_of(c);
  const Index rows = c.batch * c.time, width = config.width;
  std::mt19937_64 random = generator();
  const std::vector<float> input = normal_values(random, rows * width);
  const std::vector<float> slope = normal_values(random, rows * width);

  const Communicator self = world().split(world().rank(), 0, "self");
  TransformerBlock twin(config, self, c.batch, c.time, seed());
  // Gains and biases start at ones and zeros, which would hide a part that is missing.
  for (const Parameter& parameter : twin.parameter_list()) {
    if (parameter.decay) continue;
    const std::vector<float> drawn = normal_values(random, parameter.size);
    std::copy(drawn.begin(), drawn.end(), twin.parameters().begin() + parameter.offset);
  }
  std::vector<float> expected_output(input.size(), std::nanf(""));
  std::vector<float> expected_gradient = slope;
  twin.forward(input.data(), expected_output.data());
  twin.backward(expected_gradient.data());

  // Eight products in a row, each of sums of up to 4·width or `rows` terms, in another order. In bf16 an
  // operand's rounding may fall the other way.
  double size = 1;
  for (const float value : twin.gradients()) size = std::max(size, std::fabs(double{value}));
  for (const float value : expected_gradient) size = std::max(size, std::fabs(double{value}));
  for (const float value : expected_output) size = std::max(size, std::fabs(double{value}));
  const double rounding = c.precision == kernels::Precision::bf16
                              ? 0x1p-8
                              : 8 * std::sqrt(static_cast<double>(4 * width + rows)) * 0x1p-24;
  const double tolerance = rounding * size;

  for (const Activations activations : {Activations::whole, Activations::by_rows}) {
    SCOPED_TRACE(activations == Activations::whole ? "whole" : "by rows");
    TransformerBlock block(config, world(), c.batch, c.time, seed(), activations);
    std::vector<const Parameter*> of_twin;
    for (const Parameter& parameter : twin.parameter_list()) of_twin.push_back(&parameter);
    ASSERT_EQ(block.parameter_list().size(), of_twin.size());
    for (std::size_t p = 0; p < of_twin.size(); ++p) {
      const Parameter& parameter = block.parameter_list()[p];
      ASSERT_EQ(parameter.name, of_twin[p]->name);
      for (Index i = 0; i < parameter.size; ++i) {
        float& mine = block.parameters()[static_cast<std::size_t>(parameter.offset + i)];
        const float whole = twin.parameters()[static_cast<std::size_t>(
            of_twin[p]->offset + place_in_whole(parameter, i))];
        if (parameter.decay) {
          ASSERT_EQ(mine, whole) << parameter.name;
        }
        mine = whole;
      }
    }
    const Block mine = block.rows();
    if (activations == Activations::whole) {
      EXPECT_EQ(mine, (Block{0, rows}));
    } else {
      EXPECT_EQ(mine, block_of(rows, world().size(), world().rank()));
    }
    std::fill(block.gradients().begin(), block.gradients().end(), std::nanf(""));
    const Buffer<float> output(std::max<Index>(1, mine.size) * width);
    const Buffer<float> gradient(std::max<Index>(1, mine.size) * width, Memory::node_shared);
    std::fill(output.begin(), output.end(), std::nanf(""));
    const Index first = mine.begin * width;
    std::copy_n(slope.begin() + first, mine.size * width, gradient.begin());
    block.forward(input.data() + first, output.data());
    block.backward(gradient.data());
    double worst_output = 0, worst_gradient = 0;
    const auto raise = [](double& worst, float actual, float expected) {
      const double error = std::fabs(double{actual} - double{expected});
      if (!(error <= worst)) worst = error;
    };
    for (Index i = 0; i < mine.size * width; ++i) {
      raise(worst_output, output[i], expected_output[static_cast<std::size_t>(first + i)]);
      raise(worst_gradient, gradient[i], expected_gradient[static_cast<std::size_t>(first + i)]);
    }
    EXPECT_LE(worst_output, tolerance);
    EXPECT_LE(worst_gradient, tolerance);
    for (std::size_t p = 0; p < of_twin.size(); ++p) {
      const Parameter& parameter = block.parameter_list()[p];
      double worst = 0;
      for (Index i = 0; i < parameter.size; ++i) {
        raise(worst, block.gradients()[static_cast<std::size_t>(parameter.offset + i)],
              twin.gradients()[static_cast<std::size_t>(of_twin[p]->offset +
                                                        place_in_whole(parameter, i))]);
      }
      EXPECT_LE(worst, tolerance) << parameter.name;
    }
  }
}

constexpr kernels::Precision fp32 = kernels::Precision::fp32;
constexpr kernels::Precision bf16 = kernels::Precision::bf16;

// Rows that divide over no number of ranks, fewer rows than ranks, and rows in whole chunks.
INSTANTIATE_TEST_SUITE_P(Shapes, OneBlock,
                         ::testing::Values(Case{2, 17, true, 0.0f, fp32}, Case{1, 3, true, 0.2f, fp32},
                                           Case{3, 13, false, 0.2f, fp32},
                                           Case{8, 65, true, 0.0f, fp32},
                                           Case{2, 17, true, 0.1f, bf16}));

TEST(TransformerBlock, RefusesHeadsThatDoNotDivide) {
  GptConfig config;
  config.heads = 5 * world().size() + 1;
  config.width = 4 * config.heads;
  if (world().size() == 1) config.width += 1;
  EXPECT_THROW(TransformerBlock(config, world(), 1, 4, 1), UsageError);
}

}  // namespace
}  // namespace shoal::testing
