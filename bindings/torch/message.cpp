#include "message.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/mpi_interop.hpp>

namespace shoal::torch_backend {
namespace {

// MPI counts in int; messages of one sender with the same tag do not overtake each other.
constexpr Bytes most_at_once = Bytes{1} << 30;
// Above the tags of Shoal's own messages.
constexpr int first_tag = 1 << 20;
constexpr int most_tag = (1 << 30) - 1;

}  // namespace

Message::Message(MPI_Comm comm, bool sends, void* data, Bytes bytes, std::optional<Rank> partner,
                 int tag, Finished finished)
    : comm_(comm),
      sends_(sends),
      data_(static_cast<std::byte*>(data)),
      bytes_(bytes),
      partner_(partner),
      tag_(first_tag + tag),
      finished_(std::move(finished)) {
  if (tag < 0 || tag > most_tag) {
    throw Error(sends ? "send" : "recv", "tag " + std::to_string(tag) + " is out of range",
                "use 0 to " + std::to_string(most_tag));
  }
  // Who sends the first chunk also sends the others.
  post(0, partner ? *partner : MPI_ANY_SOURCE);
}

void Message::post(Bytes from, Rank partner) {
  const bool only_one = partner == MPI_ANY_SOURCE;
  do {
    const Bytes size = std::min(most_at_once, bytes_ - from);
    MPI_Request request = MPI_REQUEST_NULL;
    const int count = static_cast<int>(size);
    check_mpi(sends_ ? MPI_Isend(data_ + from, count, MPI_BYTE, partner, tag_, comm_, &request)
                     : MPI_Irecv(data_ + from, count, MPI_BYTE, partner, tag_, comm_, &request),
              sends_ ? "send" : "recv");
    requests_.push_back(request);
    from += size;
  } while (from < bytes_ && !only_one);
}

Message::~Message() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (!finalized) withdraw();
}

// MPI will write no more. A send cannot be cancelled: a receiver that comes late gets what is there then.
void Message::withdraw() noexcept {
  for (; next_ < requests_.size(); ++next_) {
    MPI_Request& request = requests_[next_];
    if (request == MPI_REQUEST_NULL) continue;
    if (!sends_) MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
}

void Message::check(const MPI_Status& status, Bytes expected) {
  source_ = status.MPI_SOURCE;
  int got = 0;
  MPI_Get_count(&status, MPI_BYTE, &got);
  if (static_cast<Bytes>(got) != expected) {
    throw Error("recv", "rank " + std::to_string(source_) + " sent " + std::to_string(got) +
                            " bytes, the tensor has " + std::to_string(expected),
                "pass tensors of the same size on both ranks");
  }
}

bool Message::step() {
  while (next_ < requests_.size()) {
    int complete = 0;
    MPI_Status status;
    check_mpi(MPI_Test(&requests_[next_], &complete, &status), sends_ ? "send" : "recv");
    if (!complete) return false;
    const Bytes begin = next_ * most_at_once;
    if (!sends_) check(status, std::min(most_at_once, bytes_ - begin));
    ++next_;
    if (next_ == requests_.size() && begin + most_at_once < bytes_) post(begin + most_at_once, source_);
  }
  return true;
}

bool Message::test() noexcept {
  if (done()) return true;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || ended_) return done();
  std::exception_ptr failure;
  try {
    if (!step()) return false;
  } catch (...) {
    failure = std::current_exception();
  }
  end(std::move(lock), std::move(failure));
  return true;
}

void Message::give_up(std::exception_ptr failure) noexcept {
  std::unique_lock lock(mutex_);
  if (!ended_) end(std::move(lock), std::move(failure));
}

void Message::end(std::unique_lock<std::mutex> lock, std::exception_ptr failure) noexcept {
  if (failure) withdraw();
  ended_ = true;
  // What is called may itself want something of this message.
  lock.unlock();
  if (finished_) std::exchange(finished_, nullptr)(std::move(failure));
  done_.store(true, std::memory_order_release);
}

}  // namespace shoal::torch_backend
