#include "command.hpp"

#include <CLI/CLI.hpp>

namespace shoal::launch {

bool Command::chosen() const { return app_ != nullptr && app_->parsed(); }

}  // namespace shoal::launch
