#include "tcp/mpi_by_tcp.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>

#include <shoal/runtime/mpi_interop.hpp>

namespace shoal::tcp {
namespace {

bool look() {
  if (mpi_components("pml") != std::set<std::string>{"ob1"}) return false;
  constexpr std::array<std::string_view, 5> known{"tcp", "self", "vader", "sm", "smcuda"};
  const std::set<std::string> ways = mpi_components("btl");
  return ways.count("tcp") > 0 &&
         std::all_of(ways.begin(), ways.end(), [&](const std::string& way) {
           return std::find(known.begin(), known.end(), way) != known.end();
         });
}

}  // namespace

bool mpi_sends_by_tcp() {
  static const bool answer = look();
  return answer;
}

}  // namespace shoal::tcp
