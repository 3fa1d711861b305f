// What the fuzz tests have in common.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

#include "mutate.hpp"

namespace shoal::testing {

namespace fs = std::filesystem;

inline double seconds_each() {
  const char* wish = std::getenv("SHOAL_FUZZ_SECONDS");
  return wish != nullptr ? std::strtod(wish, nullptr) : 0.8;
}

inline void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A folder for inputs, and the loop over damaged ones.
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

  using Damage = std::function<std::string(Mutator&, const std::string&, const std::string&)>;

  // Calls `take(damaged input)` until the time is over or it fails. Refusing with an Error is good.
  void run(const std::vector<std::string>& inputs,
           const std::function<void(const std::string&)>& take, const Damage& damage = flip) {
    Mutator mutator(generator());
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::duration<double>(seconds_each());
    while (Clock::now() < end && !HasFailure()) {
      const std::string input = damage(mutator, inputs[mutator.below(inputs.size())],
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

  static std::string flip(Mutator& mutator, const std::string& input, const std::string& other) {
    return mutator.damaged(input, other);
  }

  fs::path folder_;
  int tried_ = 0;
  int refused_ = 0;
};

}  // namespace shoal::testing
