// What a host says about itself.
#pragma once

#include <nlohmann/json.hpp>

namespace shoal::launch {

/// Facts that `shoal doctor` judges, of this machine and as this process sees them: host, shoal,
/// mpi, shm_bytes, memlock_bytes (-1: no limit), infiniband, governor, huge_pages, processor,
/// cores, threads, usable_threads, usable_cores, cpu_quota, isa, memory_bytes, free_bytes. What the
/// kernel does not tell is an empty text or a zero.
nlohmann::ordered_json local_facts();

}  // namespace shoal::launch
