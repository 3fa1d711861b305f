// What the C library's heap does with memory that is given back.
#pragma once

namespace shoal {

/// From the first call on the heap of this process keeps what is given back: blocks of up to 32 MiB
/// come from it, and 256 MiB may be unused at its end. By itself glibc raises these limits as it
/// goes, to 32 MiB and to twice what it has just been given back: where a step of a program needs
/// that much, whether it has to fetch its pages anew is chance, and a fresh page costs more than
/// most of what is done with it.
///
/// False, and nothing is changed, where the environment has settings of its own
/// (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_, MALLOC_TOP_PAD_, GLIBC_TUNABLES) or the C
/// library is another.
bool keep_freed_pages() noexcept;

}  // namespace shoal
