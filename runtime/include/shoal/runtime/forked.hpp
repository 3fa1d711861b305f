// Children that fork() makes of a rank.
#pragma once

namespace shoal {

/// True in a child that fork() made while this process had a Runtime, for as long as it lives and
/// does not exec. Such a child has no part in the run: it may compute, but what communicates
/// throws, memory that it shares with its parent stays the parent's, and its end means nothing to
/// the other ranks.
bool is_forked_child() noexcept;

/// Throws Error in such a child. `operation`: what it wanted to do.
void require_own_process(const char* operation);

/// Begins to watch for forks. The Runtime calls it.
void note_forks();

}  // namespace shoal
