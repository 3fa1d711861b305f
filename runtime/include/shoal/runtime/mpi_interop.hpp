// The one public header that knows MPI: hand in a communicator of your own, or take ours.
#pragma once

#include <mpi.h>

#include <set>
#include <string>
#include <string_view>

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// The MPI communicator behind `comm`; valid as long as `comm` lives.
MPI_Comm mpi_handle(const Communicator& comm) noexcept;

/// A Communicator over the same ranks as `comm`, which stays the caller's; its attributes are
/// not copied. Collective over `comm`, an intracommunicator. Needs a live Runtime.
Communicator adopt_communicator(MPI_Comm comm, std::string name);

/// A Communicator that uses the handle `comm` itself, an intracommunicator, which stays the caller's and
/// must outlive it. Local and cheap. Its messages and collectives mix with the caller's own: so collectives
/// on it, its first ones included, belong where all ranks are at the same place in the order of theirs.
/// Name and error handler stay as they are. Needs a live Runtime.
Communicator borrow_communicator(MPI_Comm comm, std::string name);

/// MPI's tool interface (MPI 3.1, chapter 14.3) for as long as this lives. Needs an MPI that has started.
class MpiTools {
 public:
  MpiTools();
  MpiTools(const MpiTools&) = delete;
  MpiTools& operator=(const MpiTools&) = delete;
  ~MpiTools();
  /// False where MPI does not give it: then its calls fail.
  explicit operator bool() const noexcept { return good_; }

 private:
  bool good_ = false;
};

/// The components of a framework of Open MPI ("pml", "mtl", "btl") that are in use, "base" left out. Empty
/// with another MPI.
std::set<std::string> mpi_components(std::string_view framework);

/// Throws Error with MPI's own text if `code` is not MPI_SUCCESS. Communicators of Shoal return
/// errors rather than abort.
void check_mpi(int code, const char* operation);

}  // namespace shoal
