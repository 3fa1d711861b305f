// Help texts that fit a terminal of 80 columns.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace shoal::launch {

/// Flags in two columns, the second wrapped at 80 characters, with defaults in parentheses.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* app) const override;
  std::string make_usage(const CLI::App* app, std::string name) const override;
  std::string make_description(const CLI::App* app) const override;
};

}  // namespace shoal::launch
