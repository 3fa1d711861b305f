#include "terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

namespace shoal::launch {
namespace {

// 0 if `fd` is no terminal.
int width_of(int fd) {
  if (isatty(fd) == 0) return 0;
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* columns = std::getenv("COLUMNS");
  const int given = columns != nullptr ? std::atoi(columns) : 0;
  return given > 0 ? given : usual_width;
}

bool is_launcher(const std::string& name) {
  constexpr std::array<std::string_view, 7> launchers = {
      "mpirun", "orterun", "mpiexec", "prterun", "mpiexec.hydra", "hydra_pmi_proxy", "srun"};
  return std::find(launchers.begin(), launchers.end(), name) != launchers.end();
}

}  // namespace

int terminal_width() {
  if (const int width = width_of(STDERR_FILENO); width > 0) return width;
  const std::string parent = "/proc/" + std::to_string(getppid());
  std::string name;
  std::getline(std::ifstream(parent + "/comm"), name);
  if (!is_launcher(name)) return 0;
  const int fd = open((parent + "/fd/2").c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return 0;
  const int width = width_of(fd);
  close(fd);
  return width;
}

}  // namespace shoal::launch
