// shoal plan --check: the planner against the machine it runs on.
#pragma once

#include <string>
#include <vector>

#include <shoal/runtime/runtime.hpp>

#include "planning/flags.hpp"
#include "planning/json_output.hpp"

namespace shoal::launch {

/// Flags of the check.
struct CheckFlags {
  bool wanted = false;
  std::vector<std::string> configs = {"nano", "small", "gpt2"};
  bool steps_only = false;
};

void add_check_flags(CLI::App& app, CheckFlags& flags);
/// Measures and compares on all ranks; prints a table, or JSON as wished. The exit status.
int run_check(Runtime& runtime, const CheckFlags& flags, const PlanFlags& plan, bool explain,
              const JsonWish& json);

}  // namespace shoal::launch
