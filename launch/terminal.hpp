// Where the messages of this run are read: a terminal, or something else.
#pragma once

namespace shoal::launch {

/// Columns where nobody can tell how many there are.
inline constexpr int usual_width = 80;

/// Width in columns of the terminal that shows this process's standard error; 0 if none does. Under
/// mpirun or srun a rank writes into a pipe, and the launcher on the same host shows what comes out:
/// then it is the launcher's terminal that counts.
int terminal_width();

}  // namespace shoal::launch
