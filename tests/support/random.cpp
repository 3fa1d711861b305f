#include <support/random.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace shoal::testing {
namespace {

std::uint64_t first_seed() {
  if (const char* text = std::getenv("SHOAL_TEST_SEED")) return std::strtoull(text, nullptr, 0);
  std::random_device device;
  return device();
}

std::uint64_t& stored_seed() {
  static std::uint64_t value = first_seed();
  return value;
}

// FNV-1a: the same on every machine, unlike std::hash.
void mix(std::uint64_t& hash, std::string_view text) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
}

}  // namespace

std::uint64_t seed() { return stored_seed(); }
void set_seed(std::uint64_t value) { stored_seed() = value; }

std::mt19937_64 generator(std::uint64_t stream) {
  std::uint64_t name = 0xcbf29ce484222325ULL;
  if (const auto* test = ::testing::UnitTest::GetInstance()->current_test_info()) {
    mix(name, test->test_suite_name());
    mix(name, ".");
    mix(name, test->name());
  }
  const std::uint64_t parts[] = {seed(), name, stream};
  std::seed_seq sequence{static_cast<std::uint32_t>(parts[0]), static_cast<std::uint32_t>(parts[0] >> 32),
                         static_cast<std::uint32_t>(parts[1]), static_cast<std::uint32_t>(parts[1] >> 32),
                         static_cast<std::uint32_t>(parts[2]), static_cast<std::uint32_t>(parts[2] >> 32)};
  return std::mt19937_64(sequence);
}

}  // namespace shoal::testing
