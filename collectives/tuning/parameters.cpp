#include "tuning/parameters.hpp"

namespace shoal {
namespace {

struct Traits {
  std::string_view name;
  Bytes value, least, most;
};

// In the order of the enumeration.
constexpr Traits traits[] = {
    {"node.stage_bytes", 512 << 10, 16 << 10, 4 << 20},  // two of them: a second-level cache of 1 MiB
    {"node.inline_bytes", 8 << 10, 0, 8 << 10},          // the slot has no more room
    {"memory.stream_bytes", 0, 0, Bytes{1} << 40},
    {"memory.stage_stream_bytes", 0, 0, Bytes{1} << 40},
    {"gathered.short_bytes", 16 << 10, 0, Bytes{1} << 30},
};
static_assert(std::size(traits) == std::size(all_parameters));

constexpr const Traits& of(Parameter which) { return traits[static_cast<std::size_t>(which)]; }

}  // namespace

std::array<std::atomic<Bytes>, std::size(all_parameters)> parameter_values = {
    traits[0].value, traits[1].value, traits[2].value, traits[3].value, traits[4].value};

std::string_view name_of(Parameter parameter) noexcept { return of(parameter).name; }
Bytes default_of(Parameter parameter) noexcept { return of(parameter).value; }
std::pair<Bytes, Bytes> limits_of(Parameter parameter) noexcept {
  return {of(parameter).least, of(parameter).most};
}

void set_parameters(const std::map<Parameter, Bytes>& values) noexcept {
  for (const Parameter which : all_parameters) {
    const auto found = values.find(which);
    parameter_values[static_cast<std::size_t>(which)] =
        found == values.end() ? of(which).value : found->second;
  }
}

}  // namespace shoal
