#include "absent_networks.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

namespace shoal {
namespace {

namespace fs = std::filesystem;

constexpr const char* mtl_variable = "OMPI_MCA_mtl";

std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\"'";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

bool lists(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (without_blanks(list.substr(0, comma)) == name) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::optional<std::string> mtl_in(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return mca_value(text, "mtl");
}

// The value that Open MPI will find, and whether it can be told here.
struct Found {
  bool known = false;
  std::optional<std::string> mtl;
};

Found mtl_of_open_mpi() {
  // The user's choice, or files that are not where they are by default.
  for (const char* name :
       {mtl_variable, "OMPI_MCA_mca_base_param_files", "OMPI_MCA_mca_base_param_file_prefix",
        "OMPI_MCA_mca_base_param_file_path", "OMPI_MCA_mca_base_override_param_file",
        "OMPI_MCA_mca_base_envar_file_prefix", "OPAL_PREFIX", "OPAL_SYSCONFDIR"}) {
    if (std::getenv(name) != nullptr) return {};
  }
#ifdef SHOAL_OPEN_MPI_SETTINGS
  const fs::path system = SHOAL_OPEN_MPI_SETTINGS;
  if (mtl_in(system / "openmpi-mca-params-override.conf")) return {};
  if (const char* home = std::getenv("HOME")) {
    if (auto mtl = mtl_in(fs::path(home) / ".openmpi/mca-params.conf")) return {true, mtl};
  }
  return {true, mtl_in(system / "openmpi-mca-params.conf")};
#else
  return {};  // another MPI
#endif
}

}  // namespace

std::vector<std::string> absent_networks(const fs::path& dev) {
  bool truescale = false;
  bool omni_path = false;
  std::error_code error;
  for (fs::directory_iterator at(dev, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();
    truescale = truescale || name.starts_with("ipath");
    omni_path = omni_path || name.starts_with("hfi1_");
  }
  std::vector<std::string> absent;
  if (error) return absent;  // who cannot look does not know
  if (!truescale) absent.emplace_back("psm");
  if (!omni_path) absent.emplace_back("psm2");
  return absent;
}

std::optional<std::string> mca_value(std::string_view file, std::string_view name) {
  std::optional<std::string> value;
  while (!file.empty()) {
    const std::size_t end = std::min(file.find('\n'), file.size());
    std::string_view line = file.substr(0, end);
    file.remove_prefix(std::min(end + 1, file.size()));
    line = line.substr(0, line.find('#'));
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || without_blanks(line.substr(0, equals)) != name)
      continue;
    value = without_blanks(line.substr(equals + 1));
  }
  return value;
}

std::optional<std::string> mtl_without(const std::vector<std::string>& absent,
                                       const std::optional<std::string>& now) {
  std::string value = now ? std::string(without_blanks(*now)) : std::string();
  if (!value.empty() && value.front() != '^') return std::nullopt;
  const std::string out = value.empty() ? std::string() : value.substr(1);
  std::string more = out;
  for (const std::string& name : absent) {
    if (!lists(out, name)) more += (more.empty() ? "" : ",") + name;
  }
  if (more == out) return std::nullopt;
  return "^" + more;
}

AbsentNetworksLeftOut::AbsentNetworksLeftOut() {
  const Found found = mtl_of_open_mpi();
  if (!found.known) return;
  const auto value = mtl_without(absent_networks(), found.mtl);
  set_ = value && setenv(mtl_variable, value->c_str(), 0) == 0;
}

AbsentNetworksLeftOut::~AbsentNetworksLeftOut() {
  if (set_) unsetenv(mtl_variable);
}

}  // namespace shoal
