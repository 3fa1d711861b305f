// What is known of the labs of this machine between two commands: a JSON file each in
// /run/shoal-lab, and beside it a folder for what its hosts write.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "descriptor.hpp"
#include "spec.hpp"

namespace shoal::launch::lab {

/// The process that keeps a host's namespaces alive.
struct Holder {
  pid_t pid = 0;
  std::string born;  ///< its start time in the kernel's words: the same number may be used again

  /// The running process of this number.
  static Holder of(pid_t pid);
  bool alive() const;
};

struct Host {
  HostSpec spec;
  Holder holder;
};

struct Lab {
  std::string name;
  int subnet = 0;  ///< its hosts are 10.99.subnet.1 and on
  Holder network_switch;
  std::vector<Host> hosts;

  std::string address(int host) const;
  int size() const { return static_cast<int>(hosts.size()); }
  std::vector<HostSpec> specs() const;
  /// Throws Error naming the hosts whose holder is gone, if any.
  void require_alive() const;
};

/// The folder of a lab: its hosts file, and a folder of temporary files for each host.
std::string lab_folder(const std::string& name);

/// Keeps other lab commands from changing labs at the same time. Waits 30 s at most. The last owner
/// takes the folder away if no lab is left.
class Lock {
 public:
  Lock();
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock();

 private:
  Descriptor folder_;
};

/// What is known of a lab, as its file's text and back. Throws Error if the text is damaged; `where` names
/// it in the message.
std::string lab_text(const Lab& lab);
Lab parse_lab(const std::string& text, const std::string& where);

/// Nothing if there is no such lab. Throws Error if its file is damaged.
std::optional<Lab> load(const std::string& name);
/// The same, but Error if there is none.
Lab load_running(const std::string& name);
void save(const Lab& lab);
/// Removes file and folder; true if there was either.
bool forget(const std::string& name);
/// The smallest subnet that no lab uses.
int free_subnet();

}  // namespace shoal::launch::lab
