#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "checks.hpp"

namespace shoal::launch {
namespace {

constexpr std::size_t columns = 80;
constexpr std::size_t text_column = 18;  // behind the mark and the name

const char* sign_of(Mark mark) {
  return mark == Mark::good ? "✓" : mark == Mark::advice ? "!" : "✗";
}

// `text` from `indent` on, broken at blanks.
std::string wrapped(const std::string& text, std::size_t indent) {
  std::string out;
  std::string rest = text;
  while (rest.size() > columns - indent) {
    std::size_t cut = rest.rfind(' ', columns - indent);
    if (cut == std::string::npos || cut == 0) cut = columns - indent;
    out += rest.substr(0, cut) + '\n' + std::string(indent, ' ');
    rest.erase(0, cut);
    rest.erase(0, std::min(rest.find_first_not_of(' '), rest.size()));
  }
  return out + rest;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace

std::string table_of(const std::vector<Check>& checks) {
  struct Row {
    Check check;
    std::vector<std::string> hosts;
  };
  std::vector<Row> rows;
  std::vector<std::string> all;
  for (const Check& check : checks) {
    const bool pair = check.name == "pair";
    if (!pair && std::find(all.begin(), all.end(), check.host) == all.end()) {
      all.push_back(check.host);
    }
    const auto same = std::find_if(rows.begin(), rows.end(), [&](const Row& row) {
      return !pair && row.check.name == check.name && row.check.mark == check.mark &&
             row.check.text == check.text && row.check.cure == check.cure;
    });
    if (same != rows.end()) {
      same->hosts.push_back(check.host);
    } else {
      rows.push_back({check, {check.host}});
    }
  }
  // One thing's findings stand together, in the order in which the things were first judged.
  std::vector<std::string> order;
  for (const Row& row : rows) {
    if (std::find(order.begin(), order.end(), row.check.name) == order.end()) {
      order.push_back(row.check.name);
    }
  }
  std::string out;
  for (const std::string& name : order) {
    for (const Row& row : rows) {
      if (row.check.name != name) continue;
      const bool everywhere = row.hosts.size() == all.size() || name == "pair";
      std::string text = row.check.text;
      if (name == "pair") {
        text = fmt::format("{:<24} {}", row.check.host, row.check.text);
      } else if (!everywhere) {
        text = joined(row.hosts) + ": " + text;
      }
      out +=
          fmt::format("{} {:<15} {}\n", sign_of(row.check.mark), name, wrapped(text, text_column));
      if (!row.check.cure.empty()) {
        out +=
            std::string(text_column, ' ') + wrapped("cure: " + row.check.cure, text_column) + '\n';
      }
    }
  }
  return out;
}

}  // namespace shoal::launch
