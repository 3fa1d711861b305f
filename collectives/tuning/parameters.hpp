// Parameters as algorithms read them.
#pragma once

#include <array>
#include <atomic>

#include <shoal/collectives/tuning.hpp>

namespace shoal {

/// The values in use; see current.hpp for when they change.
extern std::array<std::atomic<Bytes>, std::size(all_parameters)> parameter_values;

/// The value in use: a load.
inline Bytes parameter(Parameter which) noexcept {
  return parameter_values[static_cast<std::size_t>(which)].load(std::memory_order_relaxed);
}

/// Takes those of a table, and built-in ones for the rest.
void set_parameters(const std::map<Parameter, Bytes>& values) noexcept;

}  // namespace shoal
