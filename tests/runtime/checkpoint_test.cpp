#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <shoal/runtime/checkpoint.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/wait.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

namespace shoal {
namespace {

namespace fs = std::filesystem;
using testing::world;

void finish(MPI_Request request) {
  Waiter waiter;
  for (int done = 0;;) {
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "checkpoint test");
    if (done) return;
    waiter.pause([] { return Waiter::Late{"checkpoint test", "the other ranks"}; });
  }
}

void meet() {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(mpi_handle(world()), &request), "checkpoint test");
  finish(request);
}

// The model of these tests: a matrix divided along one dimension, a replicated vector, a scalar.
// Every element is a function of its place, so that any part can be checked alone.
struct Layout {
  int dim;  // along which the ranks divide the matrix
};
const Shape matrix_shape = {7, 11};
float matrix_element(Index row, Index col) { return static_cast<float>(100 * row + col); }

std::vector<Block> matrix_block(const Layout& layout) {
  std::vector<Block> block = {{0, matrix_shape[0]}, {0, matrix_shape[1]}};
  block[static_cast<std::size_t>(layout.dim)] =
      block_of(matrix_shape[layout.dim], world().size(), world().rank());
  return block;
}

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[256] = "";
    if (world().rank() == 0) {
      std::string pattern = (fs::temp_directory_path() / "shoal-checkpoint-XXXXXX").string();
      if (mkdtemp(pattern.data())) std::strncpy(path, pattern.c_str(), sizeof path - 1);
    }
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(path, sizeof path, MPI_CHAR, 0, mpi_handle(world()), &request), "test");
    finish(request);
    ASSERT_NE(path[0], '\0');
    folder_ = path;
    root_ = folder_ / "out";
  }
  void TearDown() override {
    meet();
    if (world().rank() == 0) fs::remove_all(folder_);
  }

  void save(std::int64_t step, const Layout& layout, const SaveOptions& options = {}) const {
    const std::vector<Block> block = matrix_block(layout);
    std::vector<float> matrix;
    for (Index row = block[0].begin; row < block[0].end(); ++row) {
      for (Index col = block[1].begin; col < block[1].end(); ++col) {
        matrix.push_back(matrix_element(row, col));
      }
    }
    const std::vector<double> vector = {1, 2, static_cast<double>(step)};
    const std::int64_t scalar = step;
    const bool first = world().rank() == 0;
    const std::vector<TensorSlice> slices = {
        {"matrix", DType::f32, matrix_shape, block, matrix.data()},
        {"vector", DType::f64, {3}, {{0, 3}}, vector.data(), first},
        {"scalar", DType::i64, {}, {}, &scalar, first},
    };
    save_checkpoint(world(), root_, step, slices,
                    {{"text", "x\n\"y\""}, {"integer", step}, {"number", 0.1}}, options);
  }

  static void expect_contents(const Checkpoint& checkpoint, std::int64_t step, const Layout& layout) {
    EXPECT_EQ(checkpoint.step(), step);
    EXPECT_EQ(checkpoint.integer("integer"), step);
    EXPECT_EQ(checkpoint.text("text"), "x\n\"y\"");
    EXPECT_EQ(checkpoint.number("number"), 0.1);

    const std::vector<Block> block = matrix_block(layout);
    std::vector<float> matrix(static_cast<std::size_t>(block[0].size * block[1].size),
                              std::numeric_limits<float>::quiet_NaN());
    checkpoint.read("matrix", block, matrix.data(), DType::f32);
    std::size_t i = 0;
    for (Index row = block[0].begin; row < block[0].end(); ++row) {
      for (Index col = block[1].begin; col < block[1].end(); ++col) {
        ASSERT_EQ(matrix[i++], matrix_element(row, col)) << row << ", " << col;
      }
    }
    double vector[2] = {-1, -1};
    checkpoint.read("vector", std::vector<Block>{{1, 2}}, vector, DType::f64);
    EXPECT_EQ(vector[0], 2);
    EXPECT_EQ(vector[1], static_cast<double>(step));
    std::int64_t scalar = -1;
    checkpoint.read("scalar", {}, &scalar, DType::i64);
    EXPECT_EQ(scalar, step);
  }

  fs::path step_folder(const char* name) const { return root_ / name; }

  // On rank 0, between two barriers.
  template <class Damage>
  static void damage(Damage&& damage) {
    meet();
    if (world().rank() == 0) damage();
    meet();
  }

  // Opening fails on all ranks with the same text, which contains `reason`.
  static void expect_unreadable(const fs::path& path, const std::string& reason) {
    try {
      Checkpoint::open(world(), path);
      FAIL() << "opened";
    } catch (const UsageError& error) {
      EXPECT_NE(error.message().find(reason), std::string::npos) << error.message();
    }
  }

  fs::path folder_;
  fs::path root_;
};

void replace(const fs::path& path, const std::string& from, const std::string& to) {
  std::ifstream in(path);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos);
  std::ofstream(path) << text.replace(at, from.size(), to);
}

TEST_F(CheckpointTest, AnyLayoutReadsWhatAnyOtherWrote) {
  for (const int written : {0, 1}) {
    save(written, Layout{written});
    for (const int read : {0, 1}) {
      expect_contents(Checkpoint::open(world(), root_), written, Layout{read});
    }
  }
}

TEST_F(CheckpointTest, ReadsOnFewerRanksThanWrote) {
  save(3, Layout{0});
  // Each rank alone, as a run of one process would.
  const Communicator alone = world().split(world().rank(), 0, "alone");
  const Checkpoint checkpoint = Checkpoint::open(alone, root_);
  std::vector<float> matrix(static_cast<std::size_t>(matrix_shape.size()));
  checkpoint.read("matrix", std::vector<Block>{{0, 7}, {0, 11}}, matrix.data(), DType::f32);
  for (Index i = 0; i < matrix_shape.size(); ++i) {
    ASSERT_EQ(matrix[static_cast<std::size_t>(i)], matrix_element(i / 11, i % 11));
  }
  ASSERT_EQ(checkpoint.tensors().size(), 3U);
  EXPECT_EQ(checkpoint.tensors().at("matrix").shape, matrix_shape);
  EXPECT_FALSE(checkpoint.contains("other"));
  EXPECT_THROW(checkpoint.read("other", {}, matrix.data(), DType::f32), UsageError);
  EXPECT_THROW(checkpoint.read("matrix", std::vector<Block>{{0, 8}, {0, 11}}, matrix.data(), DType::f32),
               Error);
  EXPECT_THROW(checkpoint.read("matrix", std::vector<Block>{{0, 7}}, matrix.data(), DType::f32), Error);
  EXPECT_THROW(checkpoint.read("matrix", std::vector<Block>{{0, 7}, {0, 11}}, matrix.data(), DType::i32),
               Error);
}

TEST_F(CheckpointTest, ConvertsFloatingPointTypes) {
  save(1, Layout{0});
  const Checkpoint checkpoint = Checkpoint::open(world(), root_);
  bfloat16 row[2];
  checkpoint.read("matrix", std::vector<Block>{{2, 1}, {9, 2}}, row, DType::bf16);
  EXPECT_EQ(row[0], to_bfloat16(209));
  EXPECT_EQ(row[1], to_bfloat16(210));
  float vector[3];
  checkpoint.read("vector", std::vector<Block>{{0, 3}}, vector, DType::f32);
  EXPECT_EQ(vector[1], 2.0F);
}

TEST_F(CheckpointTest, KeepsNumbersThatJsonHasNot) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double tiny = std::numeric_limits<double>::denorm_min();
  const std::int64_t large = std::numeric_limits<std::int64_t>::min();
  save_checkpoint(world(), root_, 0, {},
                  {{"best", infinity}, {"worst", -infinity}, {"tiny", tiny}, {"large", large},
                   {"nan", std::numeric_limits<double>::quiet_NaN()}, {"whole", 2.0}});
  const Checkpoint checkpoint = Checkpoint::open(world(), root_);
  EXPECT_EQ(checkpoint.number("best"), infinity);
  EXPECT_EQ(checkpoint.number("worst"), -infinity);
  EXPECT_EQ(checkpoint.number("tiny"), tiny);
  EXPECT_EQ(checkpoint.integer("large"), large);
  EXPECT_NE(checkpoint.number("nan"), checkpoint.number("nan"));
  EXPECT_EQ(std::get<double>(checkpoint.metadata().at("whole")), 2.0);
  EXPECT_THROW(checkpoint.text("missing"), UsageError);
  EXPECT_THROW(checkpoint.integer("best"), UsageError);
}

TEST_F(CheckpointTest, KeepsTheLastOnes) {
  for (const std::int64_t step : {10, 20, 30, 40}) save(step, Layout{0}, {.keep_last = 2, .mesh = ""});
  meet();
  EXPECT_EQ(complete_checkpoints(root_), (std::vector<std::int64_t>{30, 40}));
  save(40, Layout{1}, {.keep_last = 2, .mesh = "dp=9"});  // again, from a run that was resumed
  meet();
  EXPECT_EQ(complete_checkpoints(root_), (std::vector<std::int64_t>{30, 40}));
  EXPECT_EQ(Checkpoint::open(world(), root_).mesh(), "dp=9");
}

TEST_F(CheckpointTest, RemovesWhatACrashLeft) {
  damage([&] {
    fs::create_directories(root_ / ".unfinished-step-00000007");
    std::ofstream(root_ / ".unfinished-step-00000007/shard-00000.safetensors") << "half";
  });
  expect_unreadable(root_, "holds no checkpoint");
  save(8, Layout{0});
  meet();
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator{}), 1);
  expect_contents(Checkpoint::open(world(), root_), 8, Layout{0});
}

TEST_F(CheckpointTest, FallsBackToThePreviousOneWhenTheNewestIsDamaged) {
  // Of the last rank that has a part of the matrix when it is divided by rows.
  const int writer = std::min(world().size(), static_cast<int>(matrix_shape[0])) - 1;
  const fs::path shard = step_folder("step-00000002") /
                         ("shard-0000" + std::to_string(writer) + ".safetensors");
  const fs::path manifest = step_folder("step-00000002") / "manifest.json";
  const struct {
    const char* what;
    std::function<void()> how;
    const char* reason;
  } damages[] = {
      {"flipped bit",
       [&] {
         std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
         file.seekg(-3, std::ios::end);
         const char byte = static_cast<char>(file.get() ^ 4);
         file.seekp(-3, std::ios::end);
         file.put(byte);
       },
       "checksum"},
      {"truncated shard", [&] { fs::resize_file(shard, fs::file_size(shard) - 1); }, "cut short"},
      {"missing shard", [&] { fs::remove(shard); }, "No such file"},
      {"truncated manifest", [&] { fs::resize_file(manifest, fs::file_size(manifest) / 2); },
       "damaged"},
      {"missing manifest", [&] { fs::remove(manifest); }, "No such file"},
      {"manifest of another version",
       [&] { replace(manifest, "\"version\": 2", "\"version\": 7"); },
       "not of format version 2 but 7"},
      {"manifest that lies", [&] { replace(manifest, "\"step\": 2", "\"step\": 3"); }, "checksum"},
      {"manifest without a bottom",
       [&] {
         const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
         replace(manifest, "\"step\": 2", "\"step\": " + deep);
       },
       "nests too deep"},
      {"garbage for a manifest", [&] { std::ofstream(manifest) << "\x7f{[\"not JSON"; }, "damaged"},
  };
  for (const auto& [what, how, reason] : damages) {
    SCOPED_TRACE(what);
    save(1, Layout{0}, {.keep_last = 5, .mesh = ""});
    save(2, Layout{0}, {.keep_last = 5, .mesh = ""});
    damage(how);
    expect_unreadable(step_folder("step-00000002"), reason);
    expect_contents(Checkpoint::open(world(), root_), 1, Layout{0});
    damage([&] { fs::remove_all(step_folder("step-00000001")); });
    expect_unreadable(root_, "step-00000002");
  }
}

TEST_F(CheckpointTest, RefusesBlocksThatDoNotCoverTheTensorOnce) {
  const float value[4] = {};
  const bool first = world().rank() == 0;
  const std::vector<TensorSlice> short_one = {{"a", DType::f32, {4}, {{0, 3}}, value, first}};
  EXPECT_THROW(save_checkpoint(world(), root_, 1, short_one, {}), Error);
  const std::vector<TensorSlice> twice = {{"a", DType::f32, {4}, {{0, 3}}, value, first},
                                          {"a", DType::f32, {4}, {{2, 2}}, value, first}};
  EXPECT_THROW(save_checkpoint(world(), root_, 1, twice, {}), Error);
  const std::vector<TensorSlice> outside = {{"a", DType::f32, {4}, {{2, 3}}, value, first}};
  EXPECT_THROW(save_checkpoint(world(), root_, 1, outside, {}), Error);
  EXPECT_TRUE(complete_checkpoints(root_).empty());
}

TEST_F(CheckpointTest, NamesAFolderThatIsNotThere) {
  expect_unreadable(folder_ / "nowhere", "nowhere");
  damage([&] { std::ofstream(folder_ / "plain") << "x"; });
  expect_unreadable(folder_ / "plain", "not a folder");
}

// A file system with no room, as far as this process is concerned: writes beyond the limit fail on
// one rank only, the last.
TEST_F(CheckpointTest, KeepsThePreviousOneWhenARankCannotWrite) {
  save(1, Layout{0});
  const bool last = world().rank() == world().size() - 1;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit tight{64, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, last ? &tight : &before), 0);
  std::string message;
  try {
    save(2, Layout{0});
  } catch (const Error& error) {
    message = error.message();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_NE(message.find("step-00000001 is kept"), std::string::npos) << message;
  meet();
  EXPECT_EQ(std::distance(fs::directory_iterator(root_), fs::directory_iterator{}), 1);
  expect_contents(Checkpoint::open(world(), root_), 1, Layout{0});
}

TEST_F(CheckpointTest, KeepsThePreviousOneWhenTheDiskIsFull) {
  int mounted = 0;
  if (world().rank() == 0) {
    fs::create_directories(root_);
    mounted = mount("none", root_.c_str(), "tmpfs", 0, "size=256k") == 0;
  }
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&mounted, 1, MPI_INT, 0, mpi_handle(world()), &request), "test");
  finish(request);
  if (!mounted) GTEST_SKIP() << "needs the right to mount a small file system";

  save(1, Layout{0});
  meet();
  const std::vector<float> large(1 << 17);
  const std::vector<TensorSlice> slices = {
      {"large", DType::f32, {1 << 17}, {{0, 1 << 17}}, large.data(), world().rank() == 0}};
  std::string message;
  try {
    save_checkpoint(world(), root_, 2, slices, {});
  } catch (const Error& error) {
    message = error.message();
  }
  EXPECT_NE(message.find("No space left on device"), std::string::npos) << message;
  EXPECT_NE(message.find("shard-00000.safetensors"), std::string::npos) << message;
  EXPECT_NE(message.find("step-00000001 is kept"), std::string::npos) << message;
  expect_contents(Checkpoint::open(world(), root_), 1, Layout{0});
  meet();
  if (world().rank() == 0) umount(root_.c_str());
}

TEST_F(CheckpointTest, SaysThatAFolderCannotBeWritten) {
  damage([&] { std::ofstream(root_) << "a file where the folder should be"; });
  std::string message;
  try {
    save(1, Layout{0});
  } catch (const Error& error) {
    message = error.message();
  }
  EXPECT_NE(message.find(root_.string()), std::string::npos) << message;
  damage([&] {
    fs::remove(root_);
    fs::create_directories(root_);
    fs::permissions(root_, fs::perms::owner_read | fs::perms::owner_exec);
  });
  if (geteuid() == 0) return;  // root may write everywhere
  message.clear();
  try {
    save(1, Layout{0});
  } catch (const Error& error) {
    message = error.message();
  }
  EXPECT_NE(message.find("Permission denied"), std::string::npos) << message;
}

}  // namespace
}  // namespace shoal
