// Element-wise reductions on this rank, for the instruction set that was chosen at run time.
#pragma once

#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>
#include <shoal/runtime/units.hpp>

namespace shoal {

/// outputs = reduction of inputs, element by element, combined in the order of the inputs; an
/// output may be one of the inputs. `op` may be exact_sum or exact_avg (exact/exact.hpp). An average
/// divides by `ranks`. `stream`: write past the caches.
void reduce_elements(const void* const* inputs, int input_count, void* const* outputs,
                     int output_count, Index count, DType type, ReduceOp op, int ranks,
                     bool stream);

/// into = into op from. An average is summed only: see finish_average.
void reduce_into(void* into, const void* from, Index count, DType type, ReduceOp op);

/// Divides the sum at `data` by `ranks` if `op` is an average.
void finish_average(void* data, Index count, DType type, ReduceOp op, int ranks);

/// A copy that writes past the caches when it is larger than they are. Nothing at all for 0 bytes,
/// whatever the pointers.
void copy_elements(void* to, const void* from, Bytes bytes);

/// The same for a piece of something larger: the caller says whether it is written past the caches.
void copy_piece(void* to, const void* from, Bytes bytes, bool stream);

/// For many small pieces past the caches: other ranks see them only after order_stream(), which takes the
/// time that the memory needs.
void stream_piece(void* to, const void* from, Bytes bytes);
void order_stream();

/// Whether results are to be written past the caches if each of `ranks` ranks of this node touches `bytes`: as
/// the tuning table says (Parameter::stream_bytes), or else sums_go_past().
bool outgrows_caches(Bytes bytes, int ranks);

/// The same of results that are copied from where another rank has just made them
/// (Parameter::stage_stream_bytes, copies_go_past()).
bool copies_outgrow_caches(Bytes bytes, int ranks);

/// Whether writing lines that another core has read last is quickest by asking for them ahead, or by a long
/// memcpy (Caches::claims).
bool claims_lines();

}  // namespace shoal
