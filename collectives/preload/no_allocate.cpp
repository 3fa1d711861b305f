#include "preload/allocate.hpp"

namespace shoal::preload {

void start_allocating() {}
void stop_allocating() noexcept {}

}  // namespace shoal::preload
