// The shoal executable: reads the command line, hands over to one subcommand.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal_version.h>

#include "command.hpp"
#include "help.hpp"

namespace shoal::launch {
namespace {

constexpr const char* program_text =
    "Shoal: many modest machines as one device, over MPI.\n"
    "\n"
    "  shoal run -- train --data text.txt          train over all cores\n"
    "  shoal train --data text.txt                 train in one process\n"
    "  shoal generate --checkpoint out --prompt A  let the trained model write\n"
    "\n"
    "Every subcommand explains its flags with --help.";

// Started by mpirun, srun or the like: then every rank reads the same command line, and one speaks.
bool launched_in_parallel() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

// Prints on rank 0 what every rank would print; needs MPI only if there can be other ranks.
int say_once(const std::string& text) {
  if (!launched_in_parallel()) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  return run_main({}, [&](Runtime& runtime) {
    if (runtime.world().rank() == 0) std::fputs(text.c_str(), stdout);
    return 0;
  });
}

// Wrong flags are reported like every other wrong input: once, with status 2, the run ended in order.
int reject(const CLI::App& program, const std::string& problem) {
  std::string sub;
  for (const CLI::App* app = &program; !app->get_subcommands().empty();) {
    app = app->get_subcommands().front();
    sub += ' ' + app->get_name();
  }
  const std::string where = sub.empty() ? "command line" : sub.substr(1);
  const std::string cure = "see shoal" + sub + " --help";
  if (!launched_in_parallel()) {
    std::fprintf(stderr, "shoal: %s: %s; %s\n", where.c_str(), problem.c_str(), cure.c_str());
    return 2;
  }
  return run_main({}, [&](Runtime&) -> int { throw UsageError(where, problem, cure); });
}

// What it throws ends in one line, as run_main() does it for ranks.
int run_alone(Command& command) {
  try {
    return command.run_alone();
  } catch (const Error& error) {
    std::fprintf(stderr, "shoal: %s\n", error.message().c_str());
    return dynamic_cast<const UsageError*>(&error) != nullptr ? 2 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "shoal: %s\n", error.what());
    return 1;
  }
}

int main(int argc, char** argv) {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(make_train_command());
  commands.push_back(make_generate_command());
  commands.push_back(make_checkpoint_command());
  commands.push_back(make_info_command());
  commands.push_back(make_run_command());
  commands.push_back(make_doctor_command());
  commands.push_back(make_probe_command());
  commands.push_back(make_lab_command());
  commands.push_back(make_plan_command());
  commands.push_back(make_equal_command());
  commands.push_back(make_simulate_command());
#ifdef SHOAL_HAS_BENCH
  commands.push_back(make_bench_command());
  commands.push_back(make_tune_command());
  commands.push_back(make_report_command());
#endif

  CLI::App program(program_text, "shoal");
  program.formatter(std::make_shared<HelpFormatter>());
  program.get_formatter()->label("SUBCOMMANDS", "Subcommands");
  program.set_help_flag("-h,--help", "print this help and exit");
  program.set_version_flag("--version", "shoal " SHOAL_VERSION " (" SHOAL_GIT_REVISION
                                        ", " SHOAL_BUILD_TYPE ")",
                           "print the version and exit");
  program.require_subcommand(0, 1);
  for (const auto& command : commands) command->add_to(program);

  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForVersion& version) {
    return say_once(std::string(version.what()) + '\n');
  } catch (const CLI::CallForHelp&) {
    return say_once(program.help());
  } catch (const CLI::ParseError& error) {
    return reject(program, error.what());
  }
  for (const auto& command : commands) {
    if (!command->chosen()) continue;
    if (command->is_local()) return run_alone(*command);
    Runtime::Options options;
    options.trace_file = command->trace_file();
    options.threads = command->threads();
    return run_main(options, [&](Runtime& runtime) { return command->run(runtime); });
  }
  return say_once(program.help());
}

}  // namespace
}  // namespace shoal::launch

int main(int argc, char** argv) { return shoal::launch::main(argc, argv); }
