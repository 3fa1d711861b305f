// What the flags of a node order, for the thread sanitizer. It sees one process: of a thread that writes to
// another rank's buffer, and a thread of the same process that reads it after that rank has used it anew,
// it does not see that the rank between them has come from one to the other. So what a process writes before it
// raises any flag counts as seen by whatever thread of it finds another rank's flag raised.
#pragma once

#if defined(__SANITIZE_THREAD__)
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace shoal {

#if defined(__SANITIZE_THREAD__)
inline char flags_of_node;
inline void before_raising_flag() noexcept { __tsan_release(&flags_of_node); }
inline void after_seeing_flag() noexcept { __tsan_acquire(&flags_of_node); }
#else
inline void before_raising_flag() noexcept {}
inline void after_seeing_flag() noexcept {}
#endif

}  // namespace shoal
