#include <shoal/runtime/tuning_file.hpp>

#include <mpi.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include <shoal/runtime/mpi_interop.hpp>
#include <shoal/runtime/settings.hpp>
#include <shoal/runtime/topology.hpp>

#include "mpi_wait.hpp"
#include "tuning_file.hpp"

namespace shoal {
namespace {

constexpr const char* operation = "read the tuning table";
// A table of many groups takes some 100 KiB. What is larger is none, and every rank would hold it.
constexpr std::size_t most_bytes = std::size_t{16} << 20;

TuningFile current;
std::uint64_t generation = 0;

TuningFile read_file() {
  TuningFile file;
  const std::string& wish = settings().tuning;
  if (wish == "off") return file;
  const std::filesystem::path path =
      wish.empty() ? default_tuning_path() : std::filesystem::path(wish);
  if (path.empty()) return file;
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) {
    const bool absent = error == std::errc::no_such_file_or_directory ||
                        error == std::errc::not_a_directory;
    if (absent && wish.empty()) return file;
    file.path = path;
    file.problem = error.message();
    return file;
  }
  file.path = path;
  if (size > most_bytes) {
    file.problem = "it has " + std::to_string(size) + " bytes, no table is that large";
    return file;
  }
  std::ifstream in(path, std::ios::binary);
  file.text.assign(std::istreambuf_iterator<char>(in), {});
  if (!in || file.text.empty()) {
    file.text.clear();
    file.problem = in ? "it is empty" : std::strerror(errno);
    return file;
  }
  file.processor = local_machine().processor;
  return file;
}

}  // namespace

const TuningFile& tuning_file() noexcept { return current; }
std::uint64_t tuning_file_generation() noexcept { return generation; }

std::filesystem::path default_tuning_path() {
  const char* config = std::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && *config == '/') {
    return std::filesystem::path(config) / "shoal" / "tuning.json";
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') return {};
  return std::filesystem::path(home) / ".config" / "shoal" / "tuning.json";
}

void share_tuning_file(const Communicator& world) {
  TuningFile file;
  if (world.rank() == 0) file = read_file();
  std::string* parts[] = {&file.path, &file.text, &file.problem, &file.processor};
  std::int64_t lengths[4] = {};
  for (int i = 0; i < 4; ++i) lengths[i] = static_cast<std::int64_t>(parts[i]->size());
  const std::string whom = "the other ranks";
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(lengths, 4, MPI_INT64_T, 0, mpi_handle(world), &request), operation);
  wait_for(request, operation, whom);
  for (int i = 0; i < 4; ++i) {
    parts[i]->resize(static_cast<std::size_t>(lengths[i]));
    if (lengths[i] == 0) continue;
    check_mpi(MPI_Ibcast(parts[i]->data(), static_cast<int>(lengths[i]), MPI_CHAR, 0,
                         mpi_handle(world), &request),
              operation);
    wait_for(request, operation, whom);
  }
  current = std::move(file);
  ++generation;
}

}  // namespace shoal
