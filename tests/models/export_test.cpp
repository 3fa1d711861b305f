// The exported file against the model that was saved, element by element.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include <shoal/collectives/barrier.hpp>
#include <shoal/models/export.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/safetensors.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

using shoal::testing::world;
using testing::SharedFolder;

GptConfig form(bool bias) {
  GptConfig config;
  config.vocabulary = 37;
  config.block_size = 9;
  config.layers = 2;
  config.heads = 4;
  config.width = 20;
  config.bias = bias;
  return config;
}

template <class T>
T element(const NamedTensor& tensor, Index i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(tensor.data) + i * static_cast<Index>(sizeof value),
              sizeof value);
  return value;
}

// The model's own values, on one rank: `name` is ours, the tensor flat.
std::vector<float> ours(Gpt& model, const std::string& name) {
  for (const Parameter& parameter : model.parameter_list()) {
    if (parameter.name != name) continue;
    const float* data = model.parameters().data() + parameter.offset;
    return {data, data + parameter.size};
  }
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

TEST(Export, IsTheModelUnderGpt2sNames) {
  for (const bool bias : {true, false}) {
    const GptConfig config = form(bias);
    const SharedFolder folder;
    {
      const Mesh mesh(world(), MeshShape{{{"tp", world().size()}}});
      Gpt model(config, mesh, 3);
      // Biases and gains are not all zeros and ones either.
      for (std::size_t i = 0; i < model.parameters().size(); ++i) {
        if (model.parameters()[i] == 0 || model.parameters()[i] == 1) {
          model.parameters()[i] = static_cast<float>(i % 97) + 0.5F;
        }
      }
      const Tokenizer tokenizer = Tokenizer::ids(config.vocabulary);
      save_model(folder.path(), model, {5, nullptr, &tokenizer, {}, 1});
    }
    barrier(world());
    const Communicator alone = world().split(world().rank(), 0, "alone");
    if (world().rank() != 0) continue;
    const Mesh single(alone, MeshShape{});
    Gpt model(config, single, 4);
    ModelCheckpoint::open(alone, folder.path()).load(model);
    const Checkpoint checkpoint = Checkpoint::open(alone, folder.path());
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      const auto path = folder.path() / "model.safetensors";
      const Exported done = export_gpt2(checkpoint, path, type);
      const SafetensorsFile file(path);
      EXPECT_EQ(file.metadata().at("format"), "pt");
      EXPECT_EQ(file.tensors().size(), 2U + 12U * 2U + 2U);
      EXPECT_EQ(done.tensors, file.tensors().size());
      const Index c = config.width;
      // What a reader of GPT-2 computes with: x · W + b with W of [inputs, outputs].
      const struct {
        const char* name;
        Index inputs, outputs;
      } matrices[] = {{"h.1.attn.c_attn.weight", c, 3 * c},
                      {"h.1.attn.c_proj.weight", c, c},
                      {"h.0.mlp.c_fc.weight", c, 4 * c},
                      {"h.0.mlp.c_proj.weight", 4 * c, c}};
      const auto same = [&](const NamedTensor& tensor, Index at, float expected) {
        if (type == DType::f32) return element<float>(tensor, at) == expected;
        if (type == DType::bf16) return element<bfloat16>(tensor, at) == to_bfloat16(expected);
        return element<float16>(tensor, at) == to_float16(expected);
      };
      for (const auto& [name, inputs, outputs] : matrices) {
        const NamedTensor* tensor = file.find(name);
        ASSERT_NE(tensor, nullptr) << name;
        ASSERT_EQ(tensor->shape, (Shape{inputs, outputs})) << name;
        const std::vector<float> values = ours(model, std::string("transformer.") + name);
        for (Index in = 0; in < inputs; ++in) {
          for (Index out = 0; out < outputs; ++out) {
            ASSERT_TRUE(same(*tensor, in * outputs + out,
                             values[static_cast<std::size_t>(out * inputs + in)]))
                << name << " " << in << ", " << out;
          }
        }
      }
      for (const char* name : {"wte.weight", "wpe.weight", "h.0.ln_1.weight", "ln_f.weight",
                               "h.1.attn.c_attn.bias", "h.0.mlp.c_fc.bias", "ln_f.bias"}) {
        const NamedTensor* tensor = file.find(name);
        ASSERT_NE(tensor, nullptr) << name;
        EXPECT_EQ(tensor->dtype, type);
        const bool absent = !bias && std::string(name).find(".bias") != std::string::npos;
        const std::vector<float> values =
            absent ? std::vector<float>(static_cast<std::size_t>(tensor->shape.size()))
                   : ours(model, std::string("transformer.") + name);
        ASSERT_EQ(values.size(), static_cast<std::size_t>(tensor->shape.size())) << name;
        for (std::size_t i = 0; i < values.size(); ++i) {
          ASSERT_TRUE(same(*tensor, static_cast<Index>(i), values[i])) << name << " " << i;
        }
      }
    }
    EXPECT_THROW(export_gpt2(checkpoint, folder.path() / "x", DType::i8), UsageError);
    EXPECT_THROW(export_gpt2(checkpoint, folder.path() / "no/such/folder", DType::f32), Error);
  }
}

}  // namespace
}  // namespace shoal::models
