#include "operations.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/all_reduce.hpp>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/collectives/point_to_point.hpp>
#include <shoal/collectives/reduce_scatter.hpp>
#include <shoal/runtime/error.hpp>

namespace shoal::torch_backend {
namespace {

// Shoal's type of the same size, and the same arithmetic but for the order of u8; of i16 two bytes.
DType dtype_of_element(Element type) noexcept {
  switch (type) {
    case Element::f32: return DType::f32;
    case Element::f64: return DType::f64;
    case Element::bf16: return DType::bf16;
    case Element::f16: return DType::f16;
    case Element::i8:
    case Element::u8:
    case Element::boolean:
    case Element::i16: return DType::i8;
    case Element::i32: return DType::i32;
    case Element::i64: return DType::i64;
  }
  return DType::i8;
}

bool is_bitwise(Combine how) noexcept {
  return how == Combine::band || how == Combine::bor || how == Combine::bxor;
}

// Sums and products of unsigned and signed bytes have the same bits.
bool shoal_can(Element type, Combine how) noexcept {
  if (is_bitwise(how) || type == Element::i16) return false;
  return type != Element::u8 || how == Combine::sum || how == Combine::prod;
}

ReduceOp reduce_op_of(Combine how) noexcept {
  switch (how) {
    case Combine::avg: return ReduceOp::avg;
    case Combine::prod: return ReduceOp::prod;
    case Combine::min: return ReduceOp::min;
    case Combine::max: return ReduceOp::max;
    default: return ReduceOp::sum;
  }
}

std::uint8_t combined(const std::uint8_t* bytes, std::size_t step, int ranks, Combine how) {
  unsigned value = *bytes;
  for (int rank = 1; rank < ranks; ++rank) {
    bytes += step;
    const unsigned other = *bytes;
    switch (how) {
      case Combine::band: value &= other; break;
      case Combine::bor: value |= other; break;
      default: value ^= other;
    }
  }
  return static_cast<std::uint8_t>(value);
}

// Bits: all inputs are brought together, a piece at a time.
void combine_bits(const Communicator& comm, const void* in, void* out, Bytes bytes, Combine how,
                  const CollectiveOptions& options) {
  constexpr Bytes most = 1 << 20;
  const auto ranks = static_cast<std::size_t>(comm.size());
  std::vector<std::uint8_t> all(std::min(bytes, most) * ranks);
  const auto* from = static_cast<const std::uint8_t*>(in);
  auto* to = static_cast<std::uint8_t*>(out);
  for (Bytes at = 0; at < bytes; at += most) {
    const Bytes size = std::min(most, bytes - at);
    all_gather(comm, from + at, static_cast<Index>(size), all.data(), DType::i8, options);
    for (Bytes i = 0; i < size; ++i) to[at + i] = combined(&all[i], size, comm.size(), how);
  }
}

// Elements that Shoal has no arithmetic for, in 32 bits, a piece at a time. Sums and products that
// overflow wrap around to the same bits.
template <class Narrow>
void combine_widened(const Communicator& comm, const void* in, void* out, Index count, Combine how,
                     const CollectiveOptions& options) {
  constexpr Index most = 1 << 18;
  const auto* from = static_cast<const Narrow*>(in);
  auto* to = static_cast<Narrow*>(out);
  std::vector<std::int32_t> wide(static_cast<std::size_t>(std::min(count, most)));
  for (Index at = 0; at < count; at += most) {
    const Index size = std::min(most, count - at);
    std::copy_n(from + at, size, wide.begin());
    all_reduce(comm, wide.data(), wide.data(), size, DType::i32, reduce_op_of(how), options);
    std::transform(wide.begin(), wide.begin() + size, to + at,
                   [](std::int32_t value) { return static_cast<Narrow>(value); });
  }
}

}  // namespace

Bytes size_of(Element type) noexcept {
  return type == Element::i16 ? sizeof(std::int16_t) : shoal::size_of(dtype_of_element(type));
}

void require_combines(const char* operation, Element type, Combine how) {
  if (is_bitwise(how) && is_floating(dtype_of_element(type))) {
    throw Error(operation, "BAND, BOR and BXOR combine integers, the tensor has floating-point numbers");
  }
}

void combine_all(const Communicator& comm, const void* in, void* out, Index count, Element type,
                 Combine how, const CollectiveOptions& options) {
  if (shoal_can(type, how)) {
    return all_reduce(comm, in, out, count, dtype_of_element(type), reduce_op_of(how), options);
  }
  if (is_bitwise(how)) {
    return combine_bits(comm, in, out, static_cast<Bytes>(count) * size_of(type), how, options);
  }
  if (type == Element::i16) return combine_widened<std::int16_t>(comm, in, out, count, how, options);
  combine_widened<std::uint8_t>(comm, in, out, count, how, options);
}

void combine_scatter(const Communicator& comm, const void* in, void* out, Index count, Element type,
                     Combine how, const CollectiveOptions& options) {
  if (shoal_can(type, how)) {
    return reduce_scatter(comm, in, out, count, dtype_of_element(type), reduce_op_of(how), options);
  }
  const Bytes part = static_cast<Bytes>(count) * size_of(type);
  std::vector<std::byte> all(part * static_cast<Bytes>(comm.size()));
  combine_all(comm, in, all.data(), count * comm.size(), type, how, options);
  if (part > 0) std::memcpy(out, all.data() + part * static_cast<Bytes>(comm.rank()), part);
}

namespace {

// Up to so many bytes from or to every rank a gather is an all-gather, and a scatter a broadcast of everything:
// ranks of one node read each other's anyway when they compare their calls.
constexpr Bytes most_for_all = 8 << 10;

CollectiveOptions one_root(Purpose purpose, Rank root, std::uint8_t variant) {
  CollectiveOptions options;
  options.meaning = {purpose, root, variant};
  return options;
}

// Messages between ranks that do not agree who is to send them would be waited for in vain.
void require_agreement(const Communicator& comm, const char* operation, Bytes bytes,
                       const CollectiveOptions& options) {
  if (!comm.on_one_node()) return;  // there it would cost more messages
  const auto mine = static_cast<Index>(bytes);
  std::vector<Index> all(static_cast<std::size_t>(comm.size()));
  all_gather(comm, &mine, 1, all.data(), DType::i64, options);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    throw Error(std::string(operation) + " over " + comm.name(),
                "rank 0 has a tensor of " + std::to_string(all[0]) + " bytes, rank " +
                    std::to_string(rank) + " of " + std::to_string(all[rank]),
                "pass tensors of the same size on all ranks");
  }
}

}  // namespace

void gather(const Communicator& comm, const void* in, void* out, Bytes bytes, Rank root,
            std::uint8_t variant) {
  const auto count = static_cast<Index>(bytes);
  const CollectiveOptions options = one_root(Purpose::gather, root, variant);
  if (comm.on_one_node() && bytes <= most_for_all) {
    std::vector<std::byte> unused(out == nullptr ? bytes * static_cast<Bytes>(comm.size()) : 0);
    return all_gather(comm, in, count, out == nullptr ? unused.data() : out, DType::i8, options);
  }
  require_agreement(comm, "gather", bytes, options);
  if (comm.rank() != root) return send(comm, in, count, DType::i8, root);
  auto* to = static_cast<std::byte*>(out);
  for (Rank rank = 0; rank < comm.size(); ++rank, to += bytes) {
    if (rank != root) {
      receive(comm, to, count, DType::i8, rank);
    } else if (bytes > 0) {
      std::memcpy(to, in, bytes);
    }
  }
}

void scatter(const Communicator& comm, const void* in, void* out, Bytes bytes, Rank root,
             std::uint8_t variant) {
  const auto count = static_cast<Index>(bytes);
  const CollectiveOptions options = one_root(Purpose::scatter, root, variant);
  const bool is_root = comm.rank() == root;
  const Bytes all = bytes * static_cast<Bytes>(comm.size());
  if (comm.on_one_node() && all <= most_for_all) {
    std::array<std::byte, most_for_all> whole;
    if (is_root && all > 0) std::memcpy(whole.data(), in, all);
    broadcast(comm, whole.data(), static_cast<Index>(all), DType::i8, root, options);
    if (bytes > 0) std::memcpy(out, whole.data() + bytes * static_cast<Bytes>(comm.rank()), bytes);
    return;
  }
  require_agreement(comm, "scatter", bytes, options);
  if (!is_root) return receive(comm, out, count, DType::i8, root);
  const auto* from = static_cast<const std::byte*>(in);
  for (Rank rank = 0; rank < comm.size(); ++rank, from += bytes) {
    if (rank != root) {
      send(comm, from, count, DType::i8, rank);
    } else if (bytes > 0) {
      std::memcpy(out, from, bytes);
    }
  }
}

}  // namespace shoal::torch_backend
