// The handles that a caller may use: a pointer that is none of them, or was freed, is refused
// instead of followed.
#pragma once

#include <mutex>
#include <unordered_set>

#include <shoal/runtime/error.hpp>

/// Of one kind. Any thread may ask.
class Handles {
 public:
  /// `kind`: "communicator", for messages.
  explicit Handles(const char* kind) : kind_(kind) {}

  void add(const void* handle) {
    const std::lock_guard lock(mutex_);
    alive_.insert(handle);
  }
  /// False if it is none.
  bool remove(const void* handle) noexcept {
    const std::lock_guard lock(mutex_);
    return alive_.erase(handle) == 1;
  }
  bool has(const void* handle) noexcept {
    const std::lock_guard lock(mutex_);
    return alive_.count(handle) == 1;
  }
  void require(const void* handle) {
    if (handle == nullptr)
      throw shoal::UsageError("shoal", std::string("the ") + kind_ + " is NULL");
    if (!has(handle)) {
      throw shoal::UsageError("shoal", std::string("this is no ") + kind_ + ", or it was freed",
                              "use a handle only between its making and its end");
    }
  }

 private:
  const char* const kind_;
  std::mutex mutex_;
  std::unordered_set<const void*> alive_;
};
