#include "descriptor.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <shoal/runtime/error.hpp>

namespace shoal::launch::lab {

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw Error("lab", std::string("cannot make a pipe: ") + std::strerror(errno));
  }
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace shoal::launch::lab
