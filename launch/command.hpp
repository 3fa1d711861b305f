// A subcommand of the shoal executable.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <shoal/runtime/runtime.hpp>

namespace CLI {
class App;
}

namespace shoal::launch {

/// One subcommand: its flags, and what it does.
class Command {
 public:
  virtual ~Command() = default;

  /// Adds the subcommand and its flags to the program's command line.
  virtual void add_to(CLI::App& program) = 0;
  /// Runs it on all ranks; the exit status.
  virtual int run(Runtime& runtime) = 0;
  /// True if, with the flags given, it runs in this process alone and starts no MPI.
  virtual bool is_local() const noexcept { return false; }
  /// Then: runs it; the exit status.
  virtual int run_alone() { return 1; }

  /// True if the command line names this subcommand.
  bool chosen() const;
  /// What the subcommand asks of the runtime.
  const std::string& trace_file() const noexcept { return trace_file_; }
  virtual std::optional<ThreadLevel> threads() const noexcept { return std::nullopt; }

 protected:
  CLI::App* app_ = nullptr;
  std::string trace_file_;
};

/// A subcommand that always does: one that manages runs, say.
class LocalCommand : public Command {
 public:
  bool is_local() const noexcept final { return true; }
  int run_alone() override = 0;
  int run(Runtime&) final { return run_alone(); }
};

std::unique_ptr<Command> make_train_command();
std::unique_ptr<Command> make_generate_command();
std::unique_ptr<Command> make_info_command();
std::unique_ptr<Command> make_checkpoint_command();
std::unique_ptr<Command> make_bench_command();
std::unique_ptr<Command> make_tune_command();
std::unique_ptr<Command> make_report_command();
std::unique_ptr<Command> make_run_command();
std::unique_ptr<Command> make_doctor_command();
std::unique_ptr<Command> make_probe_command();
std::unique_ptr<Command> make_lab_command();
std::unique_ptr<Command> make_plan_command();
std::unique_ptr<Command> make_equal_command();
std::unique_ptr<Command> make_simulate_command();

}  // namespace shoal::launch
