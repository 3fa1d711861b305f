// Open MPI looks for networks of every kind when it starts. Two of its components, mtl/psm
// (TrueScale) and mtl/psm2 (Omni-Path), are thereby loaded, with a library each that first measures
// the processor's clock: 0.1 s each, after which a host without the network's device finds that it
// has none. On such a host they are left out from the start. This changes no choice: without the
// device they are never chosen (ompi_mtl_psm2_component_open of Open MPI 4 looks for the same
// files), so hosts may differ.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shoal {

/// Components of Open MPI's framework mtl whose network this host has no device of.
/// `dev`: /dev, or a folder that stands in for it.
std::vector<std::string> absent_networks(const std::filesystem::path& dev = "/dev");

/// The value of `name` in the text of a file of Open MPI's parameters, lines of `name = value`; the
/// last of several.
std::optional<std::string> mca_value(std::string_view file, std::string_view name);

/// What Open MPI's parameter mtl must be to leave `absent` out and everything else as it is, if it
/// is `now` (not set: all components). Nothing if `now` names what to take, or leaves them out
/// already.
std::optional<std::string> mtl_without(const std::vector<std::string>& absent,
                                       const std::optional<std::string>& now);

/// While this lives OMPI_MCA_mtl leaves out what the host has no device of, unless the environment
/// says where Open MPI's parameters come from, or has this one. For the time of MPI_Init.
class AbsentNetworksLeftOut {
 public:
  AbsentNetworksLeftOut();
  AbsentNetworksLeftOut(const AbsentNetworksLeftOut&) = delete;
  AbsentNetworksLeftOut& operator=(const AbsentNetworksLeftOut&) = delete;
  ~AbsentNetworksLeftOut();

 private:
  bool set_ = false;
};

}  // namespace shoal
