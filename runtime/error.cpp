#include <shoal/runtime/error.hpp>

#include <unistd.h>

#include <mutex>

namespace shoal {
namespace {

struct Identity {
  std::mutex mutex;
  int rank = -1;
  std::string host;
};

Identity& identity() {
  static Identity instance;
  return instance;
}

std::string join(std::string_view operation, std::string_view problem, std::string_view cure) {
  std::string text(operation);
  if (!text.empty()) text += ": ";
  text += problem;
  if (!cure.empty()) {
    text += "; ";
    text += cure;
  }
  // One error is one line, whatever a file name or a library's text brought in.
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

}  // namespace

Error::Error(std::string_view operation, std::string_view problem, std::string_view cure)
    : std::runtime_error(process_identity() + ": " + join(operation, problem, cure)),
      message_(join(operation, problem, cure)) {}

std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.message();
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown exception";
  }
}

void set_process_identity(int rank, std::string_view host) {
  Identity& me = identity();
  const std::lock_guard lock(me.mutex);
  me.rank = rank;
  me.host = host;
}

std::string process_identity() {
  Identity& me = identity();
  const std::lock_guard lock(me.mutex);
  if (me.host.empty()) {
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    me.host = name;
  }
  return me.rank < 0 ? me.host : "rank " + std::to_string(me.rank) + " on " + me.host;
}

}  // namespace shoal
