// Checkpoints that are written while the computation goes on.
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <shoal/runtime/checkpoint_writer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/wait.hpp>
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

// Enough for a file that goes past the page cache, on every rank.
constexpr Index elements_each = (Index{9} << 20) / 4;

class CheckpointWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[256] = "";
    if (world().rank() == 0) {
      std::string pattern = (fs::temp_directory_path() / "shoal-writer-XXXXXX").string();
      if (mkdtemp(pattern.data())) std::strncpy(path, pattern.c_str(), sizeof path - 1);
    }
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibcast(path, sizeof path, MPI_CHAR, 0, mpi_handle(world()), &request), "test");
    finish(request);
    ASSERT_NE(path[0], '\0');
    root_ = path;
    data_.resize(static_cast<std::size_t>(elements_each));
  }
  void TearDown() override {
    meet();
    if (world().rank() == 0) fs::remove_all(root_);
  }

  Index total() const { return elements_each * world().size(); }

  // This rank's part of a vector whose element i is i + step.
  std::vector<TensorSlice> state(std::int64_t step) {
    const Index begin = elements_each * world().rank();
    for (Index i = 0; i < elements_each; ++i) {
      data_[static_cast<std::size_t>(i)] = static_cast<float>((begin + i) % 65536 + step);
    }
    return {{"vector", DType::f32, {total()}, {{begin, elements_each}}, data_.data()}};
  }

  void expect_step(std::int64_t step) const {
    meet();
    const Checkpoint checkpoint = Checkpoint::open(world(), root_);
    EXPECT_EQ(checkpoint.step(), step);
    std::vector<float> all(static_cast<std::size_t>(total()));
    checkpoint.read("vector", std::vector<Block>{{0, total()}}, all.data(), DType::f32);
    for (Index i = 0; i < total(); ++i) {
      ASSERT_EQ(all[static_cast<std::size_t>(i)], static_cast<float>(i % 65536 + step)) << i;
    }
    if (world().rank() == 0) {
      EXPECT_EQ(verify_checkpoint(checkpoint.path()), std::vector<std::string>{});
    }
  }

  // Of the folder; while a writer lives, what it keeps to write over is one of them.
  std::ptrdiff_t entries() const {
    meet();
    return std::distance(fs::directory_iterator(root_), fs::directory_iterator{});
  }

  fs::path shard(std::int64_t step) const {
    char name[80];
    std::snprintf(name, sizeof name, "step-%08d/shard-%05d.safetensors", static_cast<int>(step),
                  world().rank());
    return root_ / name;
  }

  void save(CheckpointWriter& writer, std::int64_t step) {
    writer.start(root_, step, state(step), {}, {.keep_last = 1, .mesh = ""});
    writer.finish();
    meet();
  }

  fs::path root_;
  std::vector<float> data_;
};

TEST_F(CheckpointWriterTest, WritesWhatWasThereAtTheStart) {
  CheckpointWriter writer(world());
  EXPECT_FALSE(writer.busy());
  EXPECT_TRUE(writer.ready());
  writer.start(root_, 1, state(1), {});
  EXPECT_TRUE(writer.busy());
  std::fill(data_.begin(), data_.end(), -1.0F);  // training goes on
  writer.finish();
  EXPECT_FALSE(writer.busy());
  EXPECT_EQ(writer.reserved(), static_cast<Bytes>(elements_each) * 4);
  expect_step(1);
}

// Lengths that are multiples of nothing; some tensors within a piece of the copy, one over many.
TEST_F(CheckpointWriterTest, CopiesTensorsOfAnyLength) {
  CheckpointWriter writer(world());
  const Index lengths[] = {1, 0, 4099, 3000003, 7, 40961};
  std::vector<TensorSlice> slices;
  std::vector<std::vector<float>> tensors;
  for (const Index length : lengths) {
    const std::string name = "tensor" + std::to_string(slices.size());
    std::vector<float>& values = tensors.emplace_back(static_cast<std::size_t>(length));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>((i * 2654435761U + slices.size()) % 16777216);
    }
    const bool mine = static_cast<int>(slices.size()) % world().size() == world().rank();
    slices.push_back({name, DType::f32, {length}, {{0, length}}, values.data(), mine});
  }
  writer.start(root_, 1, slices, {});
  writer.finish();
  meet();
  const Checkpoint checkpoint = Checkpoint::open(world(), root_);
  for (std::size_t i = 0; i < slices.size(); ++i) {
    std::vector<float> read(tensors[i].size(), -1.0F);
    checkpoint.read(slices[i].name, slices[i].block, read.data(), DType::f32);
    EXPECT_EQ(read, tensors[i]) << i;
  }
  EXPECT_EQ(verify_checkpoint(checkpoint.path()), std::vector<std::string>{});
}

TEST_F(CheckpointWriterTest, AppearsAtTheLastAdvanceOnly) {
  CheckpointWriter writer(world());
  writer.start(root_, 1, state(1), {});
  meet();
  EXPECT_TRUE(complete_checkpoints(root_).empty());
  meet();
  int stages = 0;
  for (; writer.busy(); ++stages) writer.advance();
  EXPECT_EQ(stages, 2);
  expect_step(1);
}

TEST_F(CheckpointWriterTest, TheNextOneWaitsForTheOneUnderWay) {
  CheckpointWriter writer(world());
  for (const std::int64_t step : {1, 2, 3}) {
    writer.start(root_, step, state(step), {}, {.keep_last = 2, .mesh = ""});
  }
  EXPECT_EQ(writer.step(), 3);
  meet();
  EXPECT_EQ(complete_checkpoints(root_), (std::vector<std::int64_t>{1, 2}));
  meet();
  writer.finish();
  meet();
  EXPECT_EQ(complete_checkpoints(root_), (std::vector<std::int64_t>{2, 3}));
  expect_step(3);
}

TEST_F(CheckpointWriterTest, OneThatIsGivenUpLeavesNothing) {
  save_checkpoint(world(), root_, 1, state(1), {});
  {
    CheckpointWriter writer(world());
    writer.start(root_, 2, state(2), {});
    meet();
  }
  meet();
  expect_step(1);
  // What slower ranks have still written into the folder goes at the next start.
  save_checkpoint(world(), root_, 2, state(2), {}, {.keep_last = 1, .mesh = ""});
  EXPECT_EQ(entries(), 1);
  expect_step(2);
}

TEST_F(CheckpointWriterTest, AFailureOfOneRankIsThatOfAllAndTheNextOneWorks) {
  save_checkpoint(world(), root_, 1, state(1), {});
  const bool last = world().rank() == world().size() - 1;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit tight{1 << 20, before.rlim_max};
  CheckpointWriter writer(world());
  std::string message;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, last ? &tight : &before), 0);
  try {
    writer.start(root_, 2, state(2), {});
    writer.finish();
  } catch (const Error& error) {
    message = error.message();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_FALSE(writer.busy());
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_NE(message.find("step-00000001 is kept"), std::string::npos) << message;
  EXPECT_EQ(entries(), 1);
  expect_step(1);
  save(writer, 3);
  EXPECT_EQ(complete_checkpoints(root_), std::vector<std::int64_t>{3});
  expect_step(3);
}

std::uint64_t file_number(const fs::path& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_ino;
}

std::string contents(std::istream& file) {
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool on_disk_that_writes_in_place(const fs::path& path) {
  struct statfs of {};
  EXPECT_EQ(::statfs(path.c_str(), &of), 0);
  return of.f_type == EXT4_SUPER_MAGIC || of.f_type == XFS_SUPER_MAGIC;
}

TEST_F(CheckpointWriterTest, WritesOverTheFilesOfTheOneThatIsNoLongerKept) {
  {
    CheckpointWriter writer(world());
    save(writer, 1);
    const std::uint64_t first = file_number(shard(1));
    save(writer, 2);
    const bool spared = fs::exists(root_ / ".spare");
    EXPECT_EQ(spared, on_disk_that_writes_in_place(root_));
    meet();
    // As from a run of more ranks.
    if (spared && world().rank() == 0) std::ofstream(root_ / ".spare/shard-00099.safetensors") << "x";
    meet();
    save(writer, 3);
    if (spared) {
      EXPECT_EQ(file_number(shard(3)), first);
    }
    expect_step(3);
    // The next is shorter than what it is written over, the one after it longer again.
    const std::vector<float> little(static_cast<std::size_t>(Index{8} << 18), 4.0F);
    const auto count = static_cast<Index>(little.size());
    writer.start(root_, 4, std::vector<TensorSlice>{
        {"vector", DType::f32, {count * world().size()}, {{count * world().rank(), count}},
         little.data()}}, {}, {.keep_last = 1, .mesh = ""});
    writer.finish();
    meet();
    EXPECT_EQ(verify_checkpoint(root_ / "step-00000004"), std::vector<std::string>{});
    meet();
    for (const std::int64_t step : {5, 6}) save(writer, step);
    expect_step(6);
  }
  EXPECT_EQ(entries(), 1);
}

TEST_F(CheckpointWriterTest, LeavesFilesAsTheyAreThatOthersSee) {
  CheckpointWriter writer(world());
  save(writer, 1);
  std::ifstream file(shard(1), std::ios::binary);
  const std::string before = contents(file);
  file.close();
  const bool by_name = world().rank() % 2 == 0;  // or by a reader that has it open
  const fs::path backup = root_.string() + "-backup-" + std::to_string(world().rank());
  if (by_name) fs::create_hard_link(shard(1), backup);
  std::ifstream reader(shard(1), std::ios::binary);
  if (by_name) reader.close();
  for (const std::int64_t step : {2, 3, 4}) save(writer, step);
  expect_step(4);
  if (by_name) reader.open(backup, std::ios::binary);
  EXPECT_TRUE(contents(reader) == before);
  fs::remove(backup);
}

// A run that went back to a whole checkpoint must not lose it to a damaged later one.
TEST_F(CheckpointWriterTest, LaterOnesDoNotCountAmongThoseToKeep) {
  save_checkpoint(world(), root_, 10, state(10), {});
  save_checkpoint(world(), root_, 20, state(20), {}, {.keep_last = 2, .mesh = ""});
  meet();
  if (world().rank() == 0) {
    std::fstream file(root_ / "step-00000020/shard-00000.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('\x55');
  }
  meet();
  expect_step(10);
  save_checkpoint(world(), root_, 15, state(15), {}, {.keep_last = 1, .mesh = ""});
  expect_step(15);
}

TEST_F(CheckpointWriterTest, VerifyNamesWhatIsWrong) {
  save_checkpoint(world(), root_, 1, state(1), {});
  meet();
  if (world().rank() != 0) return;
  const fs::path folder = root_ / "step-00000001";
  const fs::path shard = folder / "shard-00000.safetensors";
  const auto only_problem = [&] {
    const std::vector<std::string> problems = verify_checkpoint(folder);
    return problems.size() == 1 ? problems[0] : std::to_string(problems.size()) + " problems";
  };
  std::ofstream(folder / "notes.txt") << "x";
  EXPECT_NE(only_problem().find("notes.txt: is not in the manifest"), std::string::npos);
  fs::remove(folder / "notes.txt");
  {
    std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-1, std::ios::end);
    file.put('\x55');
  }
  EXPECT_NE(only_problem().find("shard-00000.safetensors: damaged"), std::string::npos);
  fs::resize_file(shard, 100);
  EXPECT_FALSE(verify_checkpoint(folder).empty());
  fs::remove(shard);
  EXPECT_NE(only_problem().find("No such file"), std::string::npos);
  fs::remove(folder / "manifest.json");
  EXPECT_NE(only_problem().find("manifest.json: No such file"), std::string::npos);
}

}  // namespace
}  // namespace shoal
