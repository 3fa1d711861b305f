// A file descriptor with an owner; a pipe.
#pragma once

#include <unistd.h>

#include <utility>

namespace shoal::launch::lab {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset() noexcept {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

struct Pipe {
  Descriptor out;  ///< to read from
  Descriptor in;   ///< to write to
};

/// Closed in every program that is started. Throws Error if the system has no more.
Pipe make_pipe();

}  // namespace shoal::launch::lab
