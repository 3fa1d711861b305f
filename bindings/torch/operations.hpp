// What torch asks of a group beside Shoal's own collectives: more ways to combine, and one root.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <shoal/collectives/options.hpp>
#include <shoal/runtime/communicator.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal::torch_backend {

/// torch's element types that can be combined; everything can be moved.
enum class Element : std::uint8_t { f32, f64, bf16, f16, i8, u8, boolean, i16, i32, i64 };
enum class Combine : std::uint8_t { sum, avg, prod, min, max, band, bor, bxor };

Bytes size_of(Element type) noexcept;

/// Throws Error where the type has no such operation (bits of floating-point numbers). Of truth
/// values, bytes of 0 and 1, there are min, max and bxor.
void require_combines(const char* operation, Element type, Combine how);

/// As shoal::all_reduce, and shoal::reduce_scatter with `count` elements for each rank. `options`: what the
/// ranks are to compare.
void combine_all(const Communicator& comm, const void* in, void* out, Index count, Element type,
                 Combine how, const CollectiveOptions& options);
void combine_scatter(const Communicator& comm, const void* in, void* out, Index count, Element type,
                     Combine how, const CollectiveOptions& options);

/// The root gets `bytes` bytes of every rank, in order of rank. `out`: null elsewhere. `variant`: of the type,
/// for the ranks to compare. Ranks of one node that differ in root, bytes or variant get an Error.
void gather(const Communicator& comm, const void* in, void* out, Bytes bytes, Rank root,
            std::uint8_t variant);
/// Every rank gets its part of the root's. `in`: null elsewhere. The rest as above.
void scatter(const Communicator& comm, const void* in, void* out, Bytes bytes, Rank root,
             std::uint8_t variant);

}  // namespace shoal::torch_backend
