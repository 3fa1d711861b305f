// Damaged input is refused with an Error or taken for what it is: it never crashes, reads beyond
// its end, or passes for something else. SHOAL_FUZZ_SECONDS is the time of each test (0.8); a
// failure prints the seed, and leaves the input in the file that it names.
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <shoal/collectives/tuning.hpp>
#include <shoal/models/dataset.hpp>
#include <shoal/models/export.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/models/tokenizer.hpp>
#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/safetensors.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "fuzz.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::Mutator;
using testing::read;
using testing::write;
using testing::world;
using testing::Fuzz;

// A safetensors file in its two parts.
struct Parts {
  Json header;
  std::string data;

  explicit Parts(const std::string& file) {
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    header = Json::parse(file.substr(sizeof length, length));
    data = file.substr(sizeof length + length);
  }
  std::string text() const {
    const std::string json = header.dump();
    const std::uint64_t length = json.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + json + data;
  }
};

// Damages what the header says, in a file that is well formed otherwise: half of the time bytes of
// the file alone would not come past the length or the JSON.
std::string damage_safetensors(Mutator& mutator, const std::string& input,
                               const std::string& other) {
  if (mutator.below(2) == 0) return mutator.damaged(input, other);
  Parts parts(input);
  parts.header = mutator.damaged(parts.header, Parts(other).header);
  if (mutator.below(4) == 0) parts.data = mutator.damaged(parts.data, Parts(other).data);
  return parts.text();
}

// The manifest's checksum of itself, that of docs/checkpoints.md: over the JSON without it.
std::string sign(Json manifest) {
  if (!manifest.is_object()) return manifest.dump(1);
  manifest.erase("xxh64");
  const std::string text = manifest.dump(1);
  char checksum[17];
  std::snprintf(checksum, sizeof checksum, "%016llx",
                static_cast<unsigned long long>(XXH64(text.data(), text.size(), 0)));
  manifest["xxh64"] = checksum;
  return manifest.dump(1) + "\n";
}

TEST_F(Fuzz, Safetensors) {
  const fs::path path = folder_ / "file.safetensors";
  const float numbers[6] = {1, 2, 3, 4, 5, 6};
  const std::int64_t integers[2] = {-1, 1};
  const std::vector<NamedTensor> tensors = {{"weights", DType::f32, {2, 3}, numbers},
                                            {"empty", DType::i8, {0, 4}, numbers},
                                            {"scalar", DType::f64, {}, integers},
                                            {"integers", DType::i64, {2}, integers}};
  std::vector<std::string> inputs;
  write_safetensors(path, tensors, {{"format", "pt"}});
  inputs.push_back(read(path));
  write_safetensors(path, std::span(tensors).first(1));
  inputs.push_back(read(path));
  // One that fills its page, so that whoever reads beyond its end reads what is not mapped.
  const std::vector<std::int8_t> page(4096);
  for (Index size = 3000, round = 0; round < 2; ++round) {
    write_safetensors(path, std::vector<NamedTensor>{{"page", DType::i8, {size}, page.data()}});
    size += 4096 - static_cast<Index>(fs::file_size(path));
  }
  ASSERT_EQ(fs::file_size(path), 4096U);
  inputs.push_back(read(path));
  volatile unsigned sink = 0;
  run(
      inputs,
      [&](const std::string& input) {
        write(path, input);
        const SafetensorsFile file(path);
        Bytes total = 0;
        for (const NamedTensor& tensor : file.tensors()) {
          const auto* bytes = static_cast<const unsigned char*>(tensor.data);
          for (Bytes i = 0; i < tensor.bytes(); ++i) sink = sink + bytes[i];
          total += tensor.bytes();
        }
        EXPECT_LE(total, input.size());
      },
      damage_safetensors);
}

// A checkpoint of two files, one of which is damaged: if verify finds nothing, the tensors are
// those that were written.
TEST_F(Fuzz, Checkpoint) {
  const fs::path root = folder_ / "out";
  const fs::path folder = root / "step-00000007";
  std::mt19937_64 random = testing::generator(1);
  const std::vector<float> numbers = testing::uniform(random, 60);
  const std::vector<TensorSlice> slices = {
      {"matrix", DType::f32, {6, 8}, {{0, 3}, {0, 8}}, numbers.data()},
      {"matrix", DType::f32, {6, 8}, {{3, 3}, {0, 8}}, numbers.data() + 24},
      {"vector", DType::f32, {12}, {{0, 12}}, numbers.data() + 48}};
  const Metadata metadata = {{"name", "value"}, {"number", 0.5}, {"count", std::int64_t{3}}};
  save_checkpoint(world(), root, 7, slices, metadata);
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = read(entry.path());
  }
  ASSERT_EQ(files.size(), 2U);
  const auto values = [&](bool verify) {
    const Checkpoint checkpoint = Checkpoint::open(world(), folder, {.verify = verify});
    std::vector<float> got(60);
    checkpoint.read("matrix", std::vector<Block>{{0, 6}, {0, 8}}, got.data(), DType::f32);
    checkpoint.read("vector", std::vector<Block>{{0, 12}}, got.data() + 48, DType::f32);
    return got;
  };
  ASSERT_EQ(values(true), numbers);
  std::vector<std::string> inputs;
  for (const auto& [name, bytes] : files) inputs.push_back(bytes);
  std::size_t turn = 0;
  run(inputs, [&](const std::string& input) {
    auto file = files.begin();
    std::advance(file, static_cast<std::ptrdiff_t>(turn++ % files.size()));
    for (const auto& [name, bytes] : files)
      write(folder / name, name == file->first ? input : bytes);
    const std::vector<std::string> problems = verify_checkpoint(folder);
    // What is accepted, by verify or by whoever opens it, is what was written.
    const auto is_what_was_written = [&] {
      EXPECT_EQ(values(true), numbers) << "accepted " << file->first;
      const Checkpoint checkpoint = Checkpoint::open(world(), folder);
      EXPECT_EQ(checkpoint.step(), 7);
      EXPECT_EQ(checkpoint.metadata(), metadata) << "accepted " << file->first;
      EXPECT_EQ(checkpoint.tensors().size(), 2U);
    };
    if (problems.empty()) return is_what_was_written();
    bool opened = true;
    try {
      values(true);
    } catch (const Error&) {
      opened = false;
    }
    if (opened) return is_what_was_written();
    // Read without looking at checksums it may hold other numbers, but must do no harm.
    values(false);
    throw Error("verify", problems[0]);
  });
}

// The checkpoint of a model whose manifest lies, under a checksum of its own: anything may be in
// it, and no checksum says so. Whoever reads it must not be harmed.
TEST_F(Fuzz, Manifest) {
  const fs::path root = folder_ / "out";
  const fs::path folder = root / "step-00000003";
  const fs::path path = folder / "manifest.json";
  const Mesh mesh(world(), MeshShape{});
  models::GptConfig config;
  config.vocabulary = 5;
  config.block_size = 3;
  config.layers = 1;
  config.heads = 2;
  config.width = 4;
  std::vector<std::string> inputs;
  for (const bool with_optimizer : {false, true}) {
    models::Gpt model(config, mesh, testing::seed());
    models::Optimizer optimizer(model, {});
    const auto tokenizer = models::Tokenizer::characters("abc d");
    models::save_model(root, model,
                       {3, with_optimizer ? &optimizer : nullptr, &tokenizer, {{"best", 0.5}}, 1});
    inputs.push_back(read(path));
  }
  ASSERT_EQ(sign(Json::parse(inputs[0])), inputs[0]) << "what this test signs is not accepted";
  const auto refuse = [](const std::vector<std::string>& problems) {
    if (!problems.empty()) throw Error("verify", problems[0]);
  };
  int turn = 0;
  const auto lie = [](Mutator& mutator, const std::string& input, const std::string& other) {
    return sign(mutator.damaged(Json::parse(input), Json::parse(other)));
  };
  run(
      inputs,
      [&](const std::string& input) {
        write(path, input);
        const std::vector<std::string> problems = verify_checkpoint(folder);
        const auto checkpoint = models::ModelCheckpoint::open(world(), folder);
        ASSERT_NO_THROW(models::check(checkpoint.config(), 1));
        if (turn++ % 8 != 0) return refuse(problems);
        models::export_gpt2(Checkpoint::open(world(), folder), folder_ / "export.safetensors",
                            DType::f32);
        if (models::parameter_count(checkpoint.config()) > 100'000) return;
        models::Gpt model(checkpoint.config(), mesh, 0);
        models::Optimizer optimizer(model, {});
        checkpoint.load(model);
        checkpoint.load(model, optimizer);
        refuse(problems);
      },
      lie);
}

TEST_F(Fuzz, Mesh) {
  run({"dp=2,tp=4", "tp=8", "dp=1,pp=3,tp=2147483647", ""}, [](const std::string& input) {
    const MeshShape shape = MeshShape::parse(input);
    EXPECT_GE(shape.size(), 1);
    EXPECT_EQ(MeshShape::parse(shape.text()).axes, shape.axes);
  });
}

TEST_F(Fuzz, Tokenizer) {
  run({"byte", "ids:50304", "char:10,32,33,97,98,99,228,8364,128031"},
      [](const std::string& input) {
        const auto tokenizer = models::Tokenizer::from_state(input);
        EXPECT_EQ(models::Tokenizer::from_state(tokenizer.state()).state(), tokenizer.state());
        EXPECT_GE(tokenizer.vocabulary(), 1);
        EXPECT_LE(tokenizer.vocabulary(), 65536);
        const std::int32_t last = static_cast<std::int32_t>(tokenizer.vocabulary()) - 1;
        EXPECT_EQ(tokenizer.encode(tokenizer.decode(std::vector<std::int32_t>{0, last})),
                  (std::vector<std::int32_t>{0, last}));
      });
}

TEST_F(Fuzz, TokenFiles) {
  const fs::path path = folder_ / "data.bin";
  std::string ids;
  for (int i = 0; i < 400; ++i) {
    ids += static_cast<char>(i % 100);
    ids += '\0';
  }
  run({ids, ids.substr(0, 60), std::string(40, '\0')}, [&](const std::string& input) {
    write(path, input);
    models::DatasetOptions options;
    options.path = path;
    options.vocabulary = 100;
    options.block_size = 8;
    const models::Dataset data(options);
    std::vector<std::int32_t> inputs(8), targets(8);
    for (const models::Split split : {models::Split::train, models::Split::validation}) {
      for (std::uint64_t step = 0; step < 4; ++step) {
        data.sequence({split, 1, step, 0}, inputs.data(), targets.data());
        for (const std::int32_t id : inputs) ASSERT_TRUE(id >= 0 && id < 100);
        for (const std::int32_t id : targets) ASSERT_TRUE(id >= 0 && id < 100);
      }
    }
  });
}

// A table that is taken can be written and read again, and everything in it makes sense.
TEST_F(Fuzz, TuningTable) {
  TuningTable table;
  table.provenance = {{"processor", "P"}, {"date", "2026-05-31T12:00:00Z"}};
  table.within_node = Network{1e-6, 1e-10, 2e-10};
  table.between_nodes = Network{3e-5, 8e-9, 2e-10};
  table.parameters = {{Parameter::stage_bytes, 131072}, {Parameter::inline_bytes, 256}};
  for (const Operation operation : all_operations) {
    const std::string name(algorithms(operation).front()->name());
    table.entries.push_back({{operation, 4, 1, Memory::node_shared},
                             {{8, name, {{name, 0.5}, {"mpi", 1.25}}}, {32, name, {}}}});
  }
  const std::string whole = table.text();
  table.entries.resize(1);
  run({whole, table.text(), TuningTable{}.text()}, [](const std::string& input) {
    const TuningTable taken = TuningTable::parse(input);
    EXPECT_EQ(TuningTable::parse(taken.text()).text(), taken.text());
    for (const auto& level : {taken.within_node, taken.between_nodes}) {
      EXPECT_TRUE(!level || (level->alpha > 0 && level->beta > 0 && level->gamma > 0));
    }
    for (const auto& [which, value] : taken.parameters) {
      EXPECT_TRUE(value >= limits_of(which).first && value <= limits_of(which).second);
    }
    for (const TuningTable::Entry& entry : taken.entries) {
      EXPECT_GE(entry.group.nodes, 1);
      EXPECT_GE(entry.group.ranks, entry.group.nodes);
      for (const TuningTable::Point& point : entry.points) {
        EXPECT_EQ(find_algorithm(entry.group.operation, point.algorithm).name(), point.algorithm);
      }
      EXPECT_EQ(taken.find(entry.group)->group.operation, entry.group.operation);
      static_cast<void>(TuningTable::nearest(entry, 100));
    }
  });
}

}  // namespace
}  // namespace shoal
