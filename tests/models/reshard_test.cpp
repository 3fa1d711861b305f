// A checkpoint of one mesh is read on any other: the same bits, and no rank ever holds more than
// its part. SHOAL_RESHARD=gpt2 takes GPT-2 124M instead of a small model.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>

#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <support/world.hpp>

#include "trainer_setup.hpp"

namespace shoal::models {
namespace {

using shoal::testing::world;
using testing::SharedFolder;

bool full_size() {
  const char* wish = std::getenv("SHOAL_RESHARD");
  return wish != nullptr && std::string(wish) == "gpt2";
}

GptConfig model_form() {
  GptConfig config;
  if (full_size()) return config;
  config.vocabulary = 101;
  config.block_size = 16;
  config.layers = 2;
  config.heads = 12;
  config.width = 48;
  return config;
}

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// Calls visit(place in the whole tensor, place in the rank's block) for each of its elements.
template <class Visit>
void for_each_element(const Parameter& parameter, Visit&& visit) {
  const int dims = parameter.global.dims();
  const Shape strides = row_major_strides(parameter.global);
  for (Index i = 0; i < parameter.size; ++i) {
    Index rest = i;
    Index global = 0;
    for (int dim = dims - 1; dim >= 0; --dim) {
      const Block& block = parameter.block[static_cast<std::size_t>(dim)];
      global += (block.begin + rest % block.size) * strides[dim];
      rest /= block.size;
    }
    visit(static_cast<std::uint64_t>(global), i);
  }
}

// A sum over all elements of all tensors, each counted once, of a hash of place and bits: the same
// for every way to divide them.
std::uint64_t fingerprint(Gpt& model, Optimizer& optimizer) {
  const Mesh& mesh = model.mesh();
  std::uint64_t sum = 0;
  std::uint64_t array = 0;
  for (const float* values : {model.parameters().data(), optimizer.first_moment().data(),
                              optimizer.second_moment().data()}) {
    ++array;
    for (const Parameter& parameter : model.parameter_list()) {
      const std::uint64_t tensor =
          (array << 56) + (static_cast<std::uint64_t>(parameter.number) << 40);
      if (mesh.coordinate("dp") != 0 || (!parameter.sharded && mesh.coordinate("tp") != 0))
        continue;
      for_each_element(parameter, [&](std::uint64_t global, Index local) {
        sum += mix(mix(tensor + global) +
                   std::bit_cast<std::uint32_t>(values[parameter.offset + local]));
      });
    }
  }
  auto total = static_cast<std::int64_t>(sum);
  all_reduce(mesh.all(), &total, &total, 1, DType::i64, ReduceOp::sum);
  return static_cast<std::uint64_t>(total);
}

// Moments as if there had been training, functions of the place alone.
void fill_moments(Gpt& model, Optimizer& optimizer) {
  for (const Parameter& parameter : model.parameter_list()) {
    const std::uint64_t tensor = static_cast<std::uint64_t>(parameter.number) << 40;
    for_each_element(parameter, [&](std::uint64_t global, Index local) {
      const auto place = static_cast<std::size_t>(parameter.offset + local);
      const std::uint64_t bits = mix(tensor + global);
      optimizer.first_moment()[place] =
          static_cast<float>(static_cast<std::int32_t>(bits)) * 1e-12F;
      optimizer.second_moment()[place] = static_cast<float>(bits >> 40) * 1e-12F;
    });
  }
  optimizer.set_steps(1234);
}

// Private and shared memory of the process that is not pages of a file, in bytes.
Index memory_in_use() {
  std::ifstream status("/proc/self/status");
  Index kib = 0;
  for (std::string word; status >> word;) {
    if (word != "RssAnon:" && word != "RssShmem:") continue;
    Index value = 0;
    status >> value;
    kib += value;
  }
  return kib * 1024;
}

// The first `ranks` ranks of the world, or nothing on the others. Collective.
std::optional<Communicator> first_ranks(int ranks) {
  Communicator part = world().split(world().rank() < ranks ? 0 : 1, world().rank(), "part");
  if (world().rank() >= ranks) return std::nullopt;
  return part;
}

TEST(Reshard, AnyMeshReadsTheSameBitsAndNoRankTheWholeModel) {
  const GptConfig config = model_form();
  const SharedFolder folder;
  std::uint64_t written = 0;
  if (const auto comm = first_ranks(4)) {
    const Mesh mesh(*comm, MeshShape::parse(full_size() ? "tp=4" : "dp=2,tp=2"));
    Gpt model(config, mesh, 7);
    Optimizer optimizer(model, {});
    fill_moments(model, optimizer);
    written = fingerprint(model, optimizer);
    const Tokenizer tokenizer = Tokenizer::ids(config.vocabulary);
    save_model(folder.path(), model, {1234, &optimizer, &tokenizer, {}, 1});
  }
  std::int64_t shared = world().rank() == 0 ? static_cast<std::int64_t>(written) : 0;
  all_reduce(world(), &shared, &shared, 1, DType::i64, ReduceOp::sum);
  written = static_cast<std::uint64_t>(shared);

  const Index whole = 3 * parameter_count(config) * 4;
  for (const char* text : {"tp=1", "tp=2", "dp=2", "tp=3", "dp=3", "tp=4", "dp=2,tp=4", "dp=4,tp=2",
                           "pp=2", "pp=2,dp=2,tp=2"}) {
    SCOPED_TRACE(text);
    const MeshShape shape = MeshShape::parse(text);
    // Every dp replica of the large model takes 2 GB: one mesh of 8 ranks is enough.
    if (full_size() &&
        (shape.text() == "dp=4,tp=2" || shape.text() == "dp=2" || shape.size_of("pp") > 1))
      continue;
    barrier(world());
    const auto comm = first_ranks(shape.size());
    if (!comm) continue;
    const Mesh mesh(*comm, shape);
    Gpt model(config, mesh, 8);
    Optimizer optimizer(model, {});
    // Touched before, so that what loading itself needs can be seen.
    std::fill(optimizer.first_moment().begin(), optimizer.first_moment().end(), 1.0F);
    std::fill(optimizer.second_moment().begin(), optimizer.second_moment().end(), 1.0F);
    const Index before = memory_in_use();
    const ModelCheckpoint checkpoint = ModelCheckpoint::open(*comm, folder.path());
    checkpoint.load(model);
    checkpoint.load(model, optimizer);
    const Index taken = memory_in_use() - before;
    EXPECT_EQ(fingerprint(model, optimizer), written);
    EXPECT_EQ(optimizer.steps(), 1234);
    if (full_size()) {
      const Index largest = 4 * config.vocabulary * config.width / shape.size_of("tp");
      EXPECT_LT(taken, largest) << "loading held more than a block of one tensor";
      EXPECT_LT(taken, whole / 4);
      if (world().rank() == 0) {
        std::printf("%s: loading took %.1f MB beside the rank's own state of %.0f MB\n", text,
                    static_cast<double>(taken) * 1e-6,
                    static_cast<double>(12 * static_cast<Index>(model.parameters().size())) * 1e-6);
      }
    }
  }
}

}  // namespace
}  // namespace shoal::models
