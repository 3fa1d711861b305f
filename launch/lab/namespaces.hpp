// Hosts as Linux namespaces: each with a network, a host name, mounts and System V memory of its
// own, kept alive by a process that does nothing else.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "descriptor.hpp"
#include "state.hpp"

namespace shoal::launch::lab {

/// A host on its way up. Unless it is told to stay it ends with this object, and with this process.
class NewHost {
 public:
  /// Starts the holder, which waits for `build` before it becomes the host.
  NewHost(const std::string& lab, const std::string& host);
  NewHost(NewHost&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        orders_(std::move(other.orders_)),
        answers_(std::move(other.answers_)) {}
  ~NewHost();

  pid_t pid() const noexcept { return pid_; }
  /// Lets the holder set up its namespaces. Throws Error with what the kernel refused.
  void build();
  /// From here on it lives until it is killed.
  Holder stay();

 private:
  pid_t pid_ = -1;
  Descriptor orders_;
  Descriptor answers_;
};

/// Takes this process into a host: its control group, network, host name and mounts, but the
/// working directory it has. Call in a child with one thread.
void enter(const Lab& lab, int host);
/// Only into the network of a holder.
void enter_network(const Holder& holder);

/// What the holder does once its namespaces stand (hidden subcommand): waits on `orders` for the
/// word to stay, or ends if the command that makes the lab goes away; then for its end.
[[noreturn]] void hold(int orders);

}  // namespace shoal::launch::lab
