#include "checkpoint/agree.hpp"

#include <climits>
#include <cstdint>
#include <numeric>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/flight_recorder.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/mpi_interop.hpp>

#include "mpi_wait.hpp"

namespace shoal {
namespace {

constexpr const char* agreeing = "checkpoint";
constexpr flight::Call waiting{.operation = agreeing, .collective = false};

void finish(MPI_Request& request, const Communicator& comm) {
  wait_for(request, agreeing, "the other ranks of " + comm.name());
}

std::string broadcast_from(const Communicator& comm, Rank root, std::string text) {
  require_own_process(agreeing);
  const flight::Scope record(comm, waiting);
  std::int64_t length = static_cast<std::int64_t>(text.size());
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibcast(&length, 1, MPI_INT64_T, root, mpi_handle(comm), &request), agreeing);
  finish(request, comm);
  text.resize(static_cast<std::size_t>(length));
  // In pieces, because MPI counts with an int.
  for (std::int64_t done = 0; done < length; done += INT_MAX) {
    const int piece = static_cast<int>(std::min<std::int64_t>(length - done, INT_MAX));
    check_mpi(MPI_Ibcast(text.data() + done, piece, MPI_CHAR, root, mpi_handle(comm), &request),
              agreeing);
    finish(request, comm);
  }
  return text;
}

}  // namespace

void together(const Communicator& comm, const std::function<void()>& work) {
  require_own_process(agreeing);
  bool usage = false;
  std::string text;
  try {
    work();
  } catch (const PeerError&) {
    throw;  // there is nobody to agree with
  } catch (const Error& error) {
    usage = dynamic_cast<const UsageError*>(&error) != nullptr;
    text = error.message();
  } catch (const std::exception& error) {
    text = error.what();
  }
  const flight::Scope record(comm, waiting);
  const int mine = text.empty() ? comm.size() : comm.rank();
  int first = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Iallreduce(&mine, &first, 1, MPI_INT, MPI_MIN, mpi_handle(comm), &request),
            agreeing);
  finish(request, comm);
  if (first == comm.size()) return;
  text = broadcast_from(comm, first, (usage ? "u" : "e") + text);
  if (text[0] == 'u') throw UsageError("", text.substr(1));
  throw Error("", text.substr(1));
}

std::string broadcast_text(const Communicator& comm, std::string text) {
  return broadcast_from(comm, 0, std::move(text));
}

std::vector<std::string> gather_texts(const Communicator& comm, const std::string& text) {
  const flight::Scope record(comm, waiting);
  const auto size = static_cast<std::size_t>(comm.size());
  const bool root = comm.rank() == 0;
  const int length = static_cast<int>(text.size());
  std::vector<int> lengths(root ? size : 0);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(
      MPI_Igather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, 0, mpi_handle(comm), &request),
      agreeing);
  finish(request, comm);

  std::vector<int> offsets(lengths.size());
  std::exclusive_scan(lengths.begin(), lengths.end(), offsets.begin(), 0);
  std::string all(root ? static_cast<std::size_t>(offsets.back() + lengths.back()) : 0, '\0');
  check_mpi(MPI_Igatherv(text.data(), length, MPI_CHAR, all.data(), lengths.data(), offsets.data(),
                         MPI_CHAR, 0, mpi_handle(comm), &request),
            agreeing);
  finish(request, comm);

  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < lengths.size(); ++rank) {
    texts.push_back(all.substr(static_cast<std::size_t>(offsets[rank]),
                               static_cast<std::size_t>(lengths[rank])));
  }
  return texts;
}

}  // namespace shoal
