// Memory that oneDNN's fp32 products find warm.
#pragma once

#include <shoal/runtime/units.hpp>

namespace shoal::kernels {

/// Before a product of fp32 by oneDNN: once for each thread that will compute, and anew where a
/// larger product comes, gives its heap memory that has its pages already, in huge ones where the
/// system has them. oneDNN packs blocks of A and B into memory that it takes from malloc and gives
/// back in every call, and until the heap has grown to what its alignment needs, which takes three
/// to eight calls, each finds new pages there: 1,830 of 4 KiB in a product of 1024 × 2048 × 2048 on
/// one thread, 40 ms beside its 44 on a virtual machine. The heap is also told to keep such memory
/// (keep_freed_pages()); where it is not to be, nothing is done.
///
/// At most 28 MiB a thread, and no more in all than twice what A, B and C take; none for products
/// that are soon done.
void warm_packing_room(Index m, Index n, Index k);

}  // namespace shoal::kernels
