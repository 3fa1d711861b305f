#include "table_row.hpp"

#include <fmt/format.h>

namespace shoal::launch {

void print_row(const std::string& label, const std::string& text, std::size_t indent) {
  const std::size_t room = 79 - indent;
  std::string left = label;
  std::string rest = text;
  do {
    std::size_t length = rest.size();
    if (length > room) {
      length = rest.rfind(' ', room);
      if (length == std::string::npos || length == 0) length = room;
    }
    fmt::print("{:<{}}{}\n", left, indent, rest.substr(0, length));
    left.clear();
    rest.erase(0, length);
    rest.erase(0, rest.find_first_not_of(' '));
  } while (!rest.empty());
}

}  // namespace shoal::launch
