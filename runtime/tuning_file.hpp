// What the Runtime does about the tuning file when it starts.
#pragma once

#include <shoal/runtime/communicator.hpp>

namespace shoal {

/// Rank 0 of `world` reads the file that the settings name, and all get it. Collective. A file that is
/// not there is no problem at the default place; elsewhere, `problem` tells.
void share_tuning_file(const Communicator& world);

}  // namespace shoal
