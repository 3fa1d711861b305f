#include <shoal/runtime/forked.hpp>

#include <pthread.h>

#include <atomic>

#include <shoal/runtime/error.hpp>

namespace shoal {
namespace {

std::atomic<bool> in_forked_child{false};

void note_child() { in_forked_child.store(true, std::memory_order_relaxed); }

}  // namespace

bool is_forked_child() noexcept { return in_forked_child.load(std::memory_order_relaxed); }

void require_own_process(const char* operation) {
  if (!is_forked_child()) return;
  throw Error(operation, "this process was forked from a rank, and is none itself",
              "communicate in the parent only, or start the child with exec");
}

void note_forks() {
  static const int code = pthread_atfork(nullptr, nullptr, note_child);
  if (code != 0) throw Error("runtime", "no memory to watch for fork()");
}

}  // namespace shoal
