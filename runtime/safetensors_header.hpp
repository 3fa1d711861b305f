// What stands before the tensors in their file.
#pragma once

#include <map>
#include <span>
#include <string>

#include <shoal/runtime/safetensors.hpp>

namespace shoal {

/// The first bytes of the file, up to where the data start: the length of the JSON, and the JSON with
/// spaces behind it. Throws Error for a name that comes twice.
std::string safetensors_header(std::span<const NamedTensor> tensors,
                               const std::map<std::string, std::string>& metadata = {});

}  // namespace shoal
