// Law: a child that fork() makes of a rank may compute, but whatever communicates throws and says
// why, its buffers and checkpoints are the parent's, and its end, however it comes, neither waits
// nor disturbs the run.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <shoal/collectives/collectives.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/checkpoint_writer.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/mesh.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/topology.hpp>
#include <support/world.hpp>

namespace shoal::testing {
namespace {

// Runs `body` in a child; the number of the first of its statements that was false, 0 if it came to
// the end.
int in_a_child(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // rather than hang
    int status = 255;
    try {
      status = body();
    } catch (...) {
    }
    _exit(status);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) return 1000 + WTERMSIG(status);
  return WEXITSTATUS(status);
}

bool says_forked(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(error.what()).find("forked") != std::string::npos;
  }
  return false;
}

TEST(Forked, WhatCommunicatesThrows) {
  const Communicator& all = world();
  const std::vector<Index> counts(static_cast<std::size_t>(all.size()), 1);
  std::vector<float> x(static_cast<std::size_t>(all.size()));
  std::vector<float> y(x.size());
  barrier(all);
  Work work = start_barrier(all);
  work.wait();
  const int failed = in_a_child([&] {
    const std::vector<std::function<void()>> calls{
        [&] { all_reduce(all, std::span(x), ReduceOp::sum); },
        [&] { reduce_scatter(all, x.data(), y.data(), 1, DType::f32, ReduceOp::sum); },
        [&] { all_gather(all, x.data(), 1, y.data(), DType::f32); },
        [&] { broadcast(all, std::span(x), 0); },
        [&] { all_to_all(all, x.data(), y.data(), 1, DType::f32); },
        [&] { barrier(all); },
        [&] { start_barrier(all).wait(); },
        [&] { start_all_gather(all, x.data(), y.data(), counts, DType::f32).wait(); },
        [&] { send(all, x.data(), 1, DType::f32, 0); },
        [&] { receive(all, x.data(), 1, DType::f32, 0); },
        [&] { send_receive(all, x.data(), 1, 0, y.data(), 1, 0, DType::f32); },
        [&] { all.split(0, 0, "part"); },
        [&] { all.duplicate("copy"); },
        [&] {
          Mesh(all, {{{"tp", all.size()}}});
        },
        [&] { Runtime{}; },
        [&] { node_memory::allocate(64); },
        [&] { save_checkpoint(all, "nowhere", 1, {}, {}); },
        [&] { Checkpoint::open(all, "nowhere"); },
        [&] { Topology{all}; },
    };
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (!says_forked(calls[i])) return static_cast<int>(i) + 1;
    }
    return is_forked_child() ? 0 : 100;
  });
  EXPECT_EQ(failed, 0) << "the first call (from 1) that did not throw, or 1000 and a signal";
  EXPECT_FALSE(is_forked_child());
  barrier(all);
}

TEST(Forked, MemoryIsTheParents) {
  std::optional<Buffer<int>> buffer;
  buffer.emplace(1 << 20, Memory::node_shared);
  std::ranges::fill(*buffer, 7);
  const int failed = in_a_child([&] {
    buffer.reset();  // its pages stay
    const Buffer<int> own(1 << 20, Memory::node_shared);
    if (own.memory() != Memory::local) return 1;
    std::ranges::fill(own, 3);
    return own[99] == 3 ? 0 : 2;
  });
  EXPECT_EQ(failed, 0);
  for (const int value : *buffer) ASSERT_EQ(value, 7);
  barrier(world());
}

TEST(Forked, WhatIsUnderWayIsTheParents) {
  std::vector<float> x(1 << 16, 1);
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("shoal-forked-" + std::to_string(getppid()));
  const Block mine = block_of(64, world().size(), world().rank());
  std::vector<float> weights(static_cast<std::size_t>(mine.size), 2);
  const TensorSlice slice{"w", DType::f32, {64}, {mine}, weights.data()};
  std::optional<CheckpointWriter> writer;
  writer.emplace(world());
  writer->start(folder, 3, std::span(&slice, 1), {});
  Work sum = start_all_reduce(world(), std::span(x), ReduceOp::sum);
  const int failed = in_a_child([&] {
    // One that is done already is nothing to wait for.
    const bool refused = world().size() == 1 || says_forked([&] { sum.wait(); });
    sum = Work();
    writer.reset();
    return refused ? 0 : 1;
  });
  EXPECT_EQ(failed, 0);
  sum.wait();
  EXPECT_EQ(x[99], static_cast<float>(world().size()));
  writer->finish();
  barrier(world());
  EXPECT_EQ(complete_checkpoints(folder), std::vector<std::int64_t>{3});
  writer.reset();
  barrier(world());
  if (world().rank() == 0) std::filesystem::remove_all(folder);
}

// exit() runs destructors of static objects, those of MPI's libraries included.
TEST(Forked, EndsLikeAnyProcess) {
  EXPECT_EQ(in_a_child([] {
              std::exit(3);
              return 0;
            }),
            3);
  EXPECT_EQ(in_a_child([] {
              Runtime::abort(4);
              return 0;
            }),
            4);
  EXPECT_EQ(in_a_child([]() -> int {
              const Communicator* copy = nullptr;
              try {
                copy = new Communicator(world().duplicate("copy"));
              } catch (const Error&) {
              }
              return copy == nullptr ? 0 : 1;
            }),
            0);
  barrier(world());
}

}  // namespace
}  // namespace shoal::testing
