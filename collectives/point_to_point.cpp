#include <shoal/collectives/point_to_point.hpp>

#include <memory>
#include <string>
#include <utility>

#include <shoal/runtime/error.hpp>
#include <shoal/runtime/flight_recorder.hpp>
#include <shoal/runtime/forked.hpp>
#include <shoal/runtime/trace.hpp>

#include "progress/mail.hpp"
#include "transport.hpp"

namespace shoal {
namespace {

Bytes checked_bytes(const Communicator& comm, const char* operation, const void* data, Index count,
                    DType type, Rank peer, int tag) {
  require_own_process(operation);
  const std::string title = std::string(operation) + " over " + comm.name();
  if (peer < 0 || peer >= comm.size()) {
    throw Error(title, "there is no rank " + std::to_string(peer) + " among the " +
                           std::to_string(comm.size()));
  }
  if (tag < 0 || tag > most_tag) {
    throw Error(title, "tag " + std::to_string(tag) + " is out of range",
                "use 0 to " + std::to_string(most_tag));
  }
  if (count < 0 || (data == nullptr && count > 0)) {
    throw Error(title, "no data for a count of " + std::to_string(count));
  }
  return static_cast<Bytes>(count) * size_of(type);
}

flight::Call record_of(const char* operation, Index count, DType type, Rank peer) {
  flight::Call record;
  record.operation = operation;
  record.count = count;
  record.type = type;
  record.peer = peer;
  record.collective = false;
  return record;
}

}  // namespace

Work start_send(const Communicator& comm, const void* data, Index count, DType type, Rank to,
                int tag) {
  const Bytes bytes = checked_bytes(comm, "send", data, count, type, to, tag);
  auto letter = std::make_shared<Letter>(comm, Letter::Way::out, count, type, to);
  letter->messages.send(data, bytes, to, tag);
  comm.extension<Mail>().add(letter);
  return Work(std::move(letter));
}

Work start_receive(const Communicator& comm, void* data, Index count, DType type, Rank from,
                   int tag) {
  const Bytes bytes = checked_bytes(comm, "receive", data, count, type, from, tag);
  auto letter = std::make_shared<Letter>(comm, Letter::Way::in, count, type, from);
  letter->messages.receive(data, bytes, from, tag);
  comm.extension<Mail>().add(letter);
  return Work(std::move(letter));
}

void send(const Communicator& comm, const void* data, Index count, DType type, Rank to, int tag) {
  const Bytes bytes = checked_bytes(comm, "send", data, count, type, to, tag);
  const trace::Span span("send", trace::Category::communication, bytes);
  const flight::Scope record(comm, record_of("send", count, type, to));
  Messages messages(comm, "send");
  messages.send(data, bytes, to, tag);
  messages.wait();
}

void receive(const Communicator& comm, void* data, Index count, DType type, Rank from, int tag) {
  const Bytes bytes = checked_bytes(comm, "receive", data, count, type, from, tag);
  const trace::Span span("receive", trace::Category::communication, bytes);
  const flight::Scope record(comm, record_of("receive", count, type, from));
  Messages messages(comm, "receive");
  messages.receive(data, bytes, from, tag);
  messages.wait();
}

void send_receive(const Communicator& comm, const void* out_data, Index out_count, Rank to,
                  void* in_data, Index in_count, Rank from, DType type, int tag) {
  const Bytes out_bytes = checked_bytes(comm, "send_receive", out_data, out_count, type, to, tag);
  const Bytes in_bytes = checked_bytes(comm, "send_receive", in_data, in_count, type, from, tag);
  const trace::Span span("send_receive", trace::Category::communication, out_bytes + in_bytes);
  const flight::Scope record(comm, record_of("send_receive", in_count, type, from));
  Messages messages(comm, "send_receive");
  messages.receive(in_data, in_bytes, from, tag);
  messages.send(out_data, out_bytes, to, tag);
  messages.wait();
}

}  // namespace shoal
