// Damaged input is refused with an Error or taken for what it is: it never crashes, reads beyond
// its end, or passes for something else. SHOAL_FUZZ_SECONDS is the time of each test (0.8); a
// failure prints the seed, and leaves the input in the file that it names.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <shoal/collectives/tuning.hpp>
#include <shoal/models/dataset.hpp>
#include <shoal/models/model_checkpoint.hpp>
#include <shoal/models/tokenizer.hpp>
#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/safetensors.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "mutate.hpp"

namespace shoal {
namespace {

namespace fs = std::filesystem;
using testing::Mutator;
using testing::world;
using Clock = std::chrono::steady_clock;

double seconds_each() {
  const char* wish = std::getenv("SHOAL_FUZZ_SECONDS");
  return wish != nullptr ? std::strtod(wish, nullptr) : 0.8;
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Fuzz : public ::testing::Test {
 protected:
  void SetUp() override {
    // In memory where there is such a file system: a disk takes a hundred times as long.
    const fs::path root = fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    folder_ = root / ("shoal-fuzz-" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    if (!HasFailure()) fs::remove_all(folder_);
    std::printf("%d inputs, %d of them refused\n", tried_, refused_);
  }

  // Calls `take(damaged input)` until the time is over or it fails. Refusing with an Error is good.
  void run(const std::vector<std::string>& inputs,
           const std::function<void(const std::string&)>& take) {
    Mutator mutator(testing::generator());
    const auto end = Clock::now() + std::chrono::duration<double>(seconds_each());
    while (Clock::now() < end && !HasFailure()) {
      const std::string input = mutator.damaged(inputs[mutator.below(inputs.size())],
                                                inputs[mutator.below(inputs.size())]);
      ++tried_;
      try {
        take(input);
      } catch (const Error&) {
        ++refused_;
      } catch (const std::exception& other) {
        ADD_FAILURE() << "not an Error but: " << other.what();
      }
      if (!HasFailure()) continue;
      write(folder_ / "input", input);
      ADD_FAILURE() << "the input is in " << (folder_ / "input").string();
    }
    EXPECT_GT(tried_, 0);
  }

  fs::path folder_;
  int tried_ = 0;
  int refused_ = 0;
};

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
  volatile unsigned sink = 0;
  run(inputs, [&](const std::string& input) {
    write(path, input);
    const SafetensorsFile file(path);
    Bytes total = 0;
    for (const NamedTensor& tensor : file.tensors()) {
      const auto* bytes = static_cast<const unsigned char*>(tensor.data);
      for (Bytes i = 0; i < tensor.bytes(); ++i) sink = sink + bytes[i];
      total += tensor.bytes();
    }
    EXPECT_LE(total, input.size());
  });
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
  save_checkpoint(world(), root, 7, slices,
                  {{"name", "value"}, {"number", 0.5}, {"count", std::int64_t{3}}});
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
    if (problems.empty()) {
      EXPECT_EQ(values(true), numbers) << "verify has accepted " << file->first;
    } else {
      // Read without looking at checksums it may hold other numbers, but must do no harm.
      values(false);
      throw Error("verify", problems[0]);
    }
  });
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
