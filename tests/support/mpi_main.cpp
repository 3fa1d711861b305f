// main() of the tests that run under mpirun: one Runtime, one report.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/runtime.hpp>
#include <shoal/runtime/wait.hpp>
#include <support/random.hpp>
#include <support/world.hpp>

#include "agreement.hpp"

namespace shoal::testing {
namespace {

const Communicator* current_world = nullptr;

// Lets rank 0 print what GoogleTest always prints, and the failures of all ranks once, with their
// ranks in front. A test that failed on some ranks fails on all, so that all leave with one status.
class Reporter : public ::testing::EmptyTestEventListener {
 public:
  Reporter(const Communicator& world, std::unique_ptr<::testing::TestEventListener> printer)
      : speaks_(world.rank() == 0), agreement_(world), printer_(std::move(printer)) {}

  void OnTestProgramStart(const ::testing::UnitTest& unit) override {
    if (speaks_) printer_->OnTestProgramStart(unit);
  }
  void OnTestIterationStart(const ::testing::UnitTest& unit, int iteration) override {
    if (speaks_) printer_->OnTestIterationStart(unit, iteration);
  }
  void OnEnvironmentsSetUpStart(const ::testing::UnitTest& unit) override {
    if (speaks_) printer_->OnEnvironmentsSetUpStart(unit);
  }
  void OnTestSuiteStart(const ::testing::TestSuite& suite) override {
    if (speaks_) printer_->OnTestSuiteStart(suite);
  }
  void OnTestStart(const ::testing::TestInfo& info) override {
    if (speaks_) printer_->OnTestStart(info);
    settle(name_of(info) + " (start)");
  }

  void OnTestPartResult(const ::testing::TestPartResult& part) override {
    if (!part.failed()) {
      if (speaks_) printer_->OnTestPartResult(part);
      return;
    }
    if (echoing_) return;
    if (part.file_name()) {
      report_ += std::string(part.file_name()) + ":" + std::to_string(part.line_number()) + ": ";
    }
    report_ += part.message();
    if (report_.back() != '\n') report_ += '\n';
  }

  void OnTestEnd(const ::testing::TestInfo& info) override {
    settle(name_of(info));
    if (speaks_) printer_->OnTestEnd(info);
  }
  void OnTestSuiteEnd(const ::testing::TestSuite& suite) override {
    if (speaks_) printer_->OnTestSuiteEnd(suite);
  }
  void OnEnvironmentsTearDownStart(const ::testing::UnitTest& unit) override {
    if (speaks_) printer_->OnEnvironmentsTearDownStart(unit);
  }
  void OnTestIterationEnd(const ::testing::UnitTest& unit, int iteration) override {
    settle("end of the program");
    if (speaks_) printer_->OnTestIterationEnd(unit, iteration);
  }
  void OnTestProgramEnd(const ::testing::UnitTest& unit) override {
    if (speaks_) printer_->OnTestProgramEnd(unit);
  }

  bool any_failed() const { return any_failed_; }

 private:
  static std::string name_of(const ::testing::TestInfo& info) {
    return std::string(info.test_suite_name()) + "." + info.name();
  }

  void settle(const std::string& place) {
    const bool failed_here = !report_.empty();
    const Verdict verdict = agreement_.meet(report_, place);
    report_.clear();
    if (verdict.failed_ranks == 0) return;
    any_failed_ = true;
    if (speaks_) {
      std::fputs(text_of(verdict.reports).c_str(), stdout);
      std::fflush(stdout);
    }
    // Where they did not fail together they may have parted inside a collective: what comes after
    // would fail for that alone.
    if (!verdict.alike) ::testing::GTEST_FLAG(fail_fast) = true;
    if (failed_here) return;
    echoing_ = true;
    ADD_FAILURE() << "failed on " << verdict.failed_ranks << " other ranks";
    echoing_ = false;
  }

  const bool speaks_;
  bool echoing_ = false;
  bool any_failed_ = false;
  std::string report_;
  Agreement agreement_;
  std::unique_ptr<::testing::TestEventListener> printer_;
};

// Rank 0's seed, for all. Ibcast with a bounded wait: a rank may have died on its way here.
void share_seed(const Communicator& world) {
  std::uint64_t value = seed();
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&value, 1, MPI_UINT64_T, 0, mpi_handle(world), &request), "test seed");
  Waiter waiter;
  for (int done = 0;;) {
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "test seed");
    if (done) break;
    waiter.pause([] { return Waiter::Late{"test seed", "rank 0"}; });
  }
  set_seed(value);
}

int run_tests(Runtime& runtime) {
  const Communicator& world = runtime.world();
  current_world = &world;
  share_seed(world);
  // The same order of tests on all ranks under --gtest_shuffle, and one XML file.
  if (::testing::GTEST_FLAG(random_seed) == 0) {
    ::testing::GTEST_FLAG(random_seed) = static_cast<int>(seed() % 99999) + 1;
  }
  if (world.rank() != 0) ::testing::GTEST_FLAG(output) = "";

  auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
  std::unique_ptr<::testing::TestEventListener> printer(
      listeners.Release(listeners.default_result_printer()));
  auto* reporter = new Reporter(world, std::move(printer));  // GoogleTest owns its listeners
  listeners.Append(reporter);
  int status = RUN_ALL_TESTS();
  if (reporter->any_failed()) status = 1;
  if (status != 0 && world.rank() == 0) {
    std::printf("seed: run again with SHOAL_TEST_SEED=%llu\n",
                static_cast<unsigned long long>(seed()));
  }
  // The reporter holds a communicator, which must be freed before the Runtime ends.
  delete listeners.Release(reporter);
  current_world = nullptr;
  return status;
}

}  // namespace

const Communicator& world() {
  if (!current_world) {
    throw Error("testing::world", "the test has no Runtime", "declare it with shoal_add_mpi_test");
  }
  return *current_world;
}

}  // namespace shoal::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return shoal::run_main({}, [](shoal::Runtime& runtime) {
    return shoal::testing::run_tests(runtime);
  });
}
