#include "help.hpp"

#include <cstddef>
#include <sstream>
#include <utility>

namespace shoal::launch {
namespace {

constexpr std::size_t help_columns = 80;
constexpr std::size_t first_column = 28;

// Words of `text` from column `indent` on; the cursor is at `column`.
std::string wrapped(const std::string& text, std::size_t column, std::size_t indent) {
  std::istringstream words(text);
  std::string out;
  std::string word;
  bool fresh = true;
  while (words >> word) {
    if (!fresh && column + 1 + word.size() >= help_columns) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
      fresh = true;
    }
    if (!fresh) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    fresh = false;
  }
  return out;
}

std::string two_columns(const std::string& left, const std::string& right) {
  std::string line = "  " + left;
  if (line.size() + 2 > first_column) {
    line += '\n' + std::string(first_column, ' ');
  } else {
    line.resize(first_column, ' ');
  }
  return line + wrapped(right, first_column, first_column) + '\n';
}

}  // namespace

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  std::string left = option->get_name(is_positional, true);
  if (!is_positional && option->get_expected_max() > 0 && !option->get_type_name().empty()) {
    // What follows the colon are CLI11's names of the checks; the description says it better.
    const std::string type = option->get_type_name();
    left += ' ' + type.substr(0, type.find(':'));
  }
  std::string right = option->get_description();
  if (option->get_required()) right += " (required)";
  if (!option->get_default_str().empty()) right += " (" + option->get_default_str() + ")";
  return two_columns(left, right);
}

std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
  // CLI11 puts two blank lines between groups.
  const bool first = is_positional || group == get_label("Options");
  const std::string text = Formatter::make_group(std::move(group), is_positional, std::move(options));
  return first ? text : text.substr(text.find_first_not_of('\n'));
}

std::string HelpFormatter::make_subcommand(const CLI::App* app) const {
  const std::string text = app->get_description();
  return two_columns(app->get_name(), text.substr(0, text.find('\n')));
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string) const {
  std::string name = app->get_name();
  for (const CLI::App* parent = app->get_parent(); parent != nullptr;
       parent = parent->get_parent()) {
    name = parent->get_name() + ' ' + name;
  }
  const bool has_subcommands =
      !app->get_subcommands([](const CLI::App*) { return true; }).empty();
  return "\nUsage: " + name + (has_subcommands ? " SUBCOMMAND" : "") + " [FLAGS]\n";
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  // Paragraphs stay, lines are broken anew.
  std::istringstream paragraphs(app->get_description());
  std::string out;
  std::string paragraph;
  while (std::getline(paragraphs, paragraph)) {
    const std::size_t indent = paragraph.find_first_not_of(' ');
    const bool verbatim = indent != std::string::npos && indent > 0;
    out += (verbatim ? paragraph : wrapped(paragraph, 0, 0)) + '\n';
  }
  return out;
}

}  // namespace shoal::launch
