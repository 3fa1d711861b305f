#include "collectives/contest.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <shoal/collectives/collectives.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/isa.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/placement.hpp>
#include <shoal/runtime/wait.hpp>

#include "collectives/memory_loop.hpp"
#include "elements.hpp"

namespace shoal::bench {
namespace {

MemoryLoop* memory_loop_here() {
  switch (selected_isa()) {
#ifdef SHOAL_SIMD_HAS_AVX512
    case Isa::avx512: return avx512::memory_loop;
#endif
#ifdef SHOAL_SIMD_HAS_AVX2
    case Isa::avx2: return avx2::memory_loop;
#endif
    default: return baseline::memory_loop;
  }
}

}  // namespace

bool reduces(Operation operation) noexcept {
  return operation == Operation::all_reduce || operation == Operation::reduce_scatter;
}

bool sums_rounded(Operation operation, DType type, ReduceOp op) noexcept {
  return reduces(operation) && is_floating(type) && (op == ReduceOp::sum || op == ReduceOp::avg);
}

Contest::Contest(const Communicator& comm, Operation operation, DType type, ReduceOp op,
                 Memory memory, Bytes bytes, bool in_place)
    : comm_(comm), operation_(operation), type_(type), op_(op), in_place_(in_place) {
  const Index wanted = std::max<Index>(1, static_cast<Index>(bytes / size_of(type)));
  each_ = std::max<Index>(1, wanted / comm.size());
  const bool whole = operation == Operation::all_reduce || operation == Operation::broadcast;
  count_ = operation == Operation::barrier ? 0 : whole ? wanted : each_ * comm.size();
  if (!in_place) in_ = Storage(static_cast<Bytes>(in_count()) * size_of(type), memory);
  out_ = Storage(static_cast<Bytes>(out_count()) * size_of(type), memory);
  set_input(input());
  if (operation == Operation::all_reduce) learn_addresses();
}

void Contest::set_input(std::byte* data) const {
  for (Index i = 0; i < in_count(); ++i) {
    set_element(data, i, type_, input_at(comm_.rank(), i));
  }
}

Index Contest::in_count() const noexcept {
  switch (operation_) {
    case Operation::all_gather: return each_;
    case Operation::broadcast: return comm_.rank() == 0 ? count_ : 0;
    default: return count_;
  }
}

Index Contest::out_count() const noexcept {
  return operation_ == Operation::reduce_scatter ? each_ : count_;
}

// Small whole numbers that every type has; where nothing is added they differ by rank and place.
double Contest::input_at(Rank rank, Index index) const {
  return reduces(operation_) ? test_value(rank, index)
                             : static_cast<double>((Index{rank} * 37 + index) % 101);
}

double Contest::expected_at(Index index) const {
  switch (operation_) {
    case Operation::all_reduce: return expected_value(comm_.size(), index, type_, op_);
    case Operation::reduce_scatter:
      return expected_value(comm_.size(), comm_.rank() * each_ + index, type_, op_);
    case Operation::all_gather: return input_at(static_cast<Rank>(index / each_), index % each_);
    case Operation::broadcast: return input_at(0, index);
    case Operation::all_to_all:
      return input_at(static_cast<Rank>(index / each_), comm_.rank() * each_ + index % each_);
    case Operation::barrier: break;
  }
  return 0;
}

void Contest::run_on(const Communicator& comm, const std::string& algorithm) {
  CollectiveOptions how;
  if (algorithm == "reproducible") {
    how.reproducible = true;
  } else if (algorithm != "auto") {
    how.algorithm = algorithm;
  }
  switch (operation_) {
    case Operation::all_reduce:
      return all_reduce(comm, input(), out_.data(), count_, type_, op_, how);
    case Operation::reduce_scatter:
      return reduce_scatter(comm, input(), out_.data(), each_, type_, op_, how);
    case Operation::all_gather:
      return all_gather(comm, input(), each_, out_.data(), type_, how);
    case Operation::broadcast:
      // The root's data must still be there at the next call, so it lies in the input.
      return broadcast(comm, comm.rank() == 0 ? input() : out_.data(), count_, type_, 0, how);
    case Operation::all_to_all:
      return all_to_all(comm, input(), out_.data(), each_, type_, how);
    case Operation::barrier: return barrier(comm, how);
  }
}

void Contest::learn_addresses() {
  const auto in = node_memory::locate(input());
  const auto out = node_memory::locate(out_.data());
  const std::int64_t mine[] = {in ? in->owner : -1, in ? static_cast<std::int64_t>(in->offset) : 0,
                               out ? out->owner : -1,
                               out ? static_cast<std::int64_t>(out->offset) : 0};
  std::vector<std::int64_t> all(4 * static_cast<std::size_t>(comm_.size()));
  all_gather(comm_, mine, 4, all.data(), DType::i64);
  for (std::size_t at = 0; at < all.size(); at += 4) {
    if (!comm_.on_one_node() || all[at] < 0 || all[at + 2] < 0) {
      inputs_.clear();
      outputs_.clear();
      return;
    }
    const auto address = [&](std::size_t of) {
      return static_cast<std::byte*>(node_memory::address(
          {static_cast<std::int32_t>(all[of]), static_cast<std::uint64_t>(all[of + 1])}));
    };
    inputs_.push_back(address(at));
    outputs_.push_back(address(at + 2));
  }
}

std::vector<std::function<void()>> Contest::memory_ways() {
  constexpr Bytes line = 64;
  const int ranks = comm_.size();
  const Bytes block = static_cast<Bytes>(each_) * size_of(type_) / line * line;
  std::vector<const std::byte*> in = {input()};
  std::vector<std::byte*> out = {out_.data()};
  Bytes bytes = 0;
  std::vector<std::function<void()>> ways;
  switch (operation_) {
    case Operation::all_reduce:
    case Operation::all_to_all:
      // All inputs are read once and all outputs written once, whoever does it.
      bytes = this->bytes() / line * line;
      if (!in_place_) {
        ways.emplace_back([this] { std::memcpy(out_.data(), in_.data(), this->bytes()); });
      }
      break;
    case Operation::reduce_scatter:
      bytes = block;
      for (int i = 1; i < ranks; ++i) in.push_back(input() + static_cast<Bytes>(i) * block);
      break;
    case Operation::all_gather:
      bytes = block;
      for (int i = 1; i < ranks; ++i) out.push_back(out_.data() + static_cast<Bytes>(i) * block);
      ways.emplace_back([this, ranks] {
        const Bytes each = static_cast<Bytes>(each_) * size_of(type_);
        for (int i = 0; i < ranks; ++i) {
          std::memcpy(out_.data() + static_cast<Bytes>(i) * each, input(), each);
        }
      });
      break;
    case Operation::broadcast:
      // The root's data, read once, may come from a cache: what is left is the writing.
      ways.emplace_back([this] {
        if (comm_.rank() != 0) std::memset(out_.data(), 1, this->bytes());
      });
      break;
    case Operation::barrier: ways.emplace_back([] {}); break;
  }
  const auto add = [&](const std::vector<const std::byte*>& from,
                       const std::vector<std::byte*>& to, Bytes length) {
    for (const bool past : {false, true}) {
      ways.emplace_back([=, loop = memory_loop_here()] {
        loop(from.data(), static_cast<int>(from.size()), to.data(), static_cast<int>(to.size()),
             length, past);
      });
    }
  };
  if (operation_ != Operation::barrier && operation_ != Operation::broadcast &&
      (bytes > 0 || ways.empty())) {
    add(in, out, bytes);
  }
  if (operation_ == Operation::all_reduce && !inputs_.empty()) {
    const Block part = block_of(static_cast<Index>(bytes / line), ranks, comm_.rank());
    in = inputs_;
    out = outputs_;
    for (auto& at : in) at += static_cast<Bytes>(part.begin) * line;
    for (auto& at : out) at += static_cast<Bytes>(part.begin) * line;
    add(in, out, static_cast<Bytes>(part.size) * line);
  }
  // Nodes differ in how many ranks they have, but all ranks must meet or none.
  Index share = ranks_own_their_cores() ? 0 : 1;
  all_reduce(comm_, &share, &share, 1, DType::i64, ReduceOp::max);
  if (share != 0) {
    for (auto& way : ways) {
      way = [this, loop = std::move(way)] {
        loop();
        barrier(comm_);
      };
    }
  }
  return ways;
}

void Contest::check(const std::string& algorithm) {
  if (operation_ == Operation::barrier) return;
  if (in_place_) {
    set_input(out_.data());
  } else {
    std::memset(out_.data(), 0x7f, out_.bytes());
  }
  run(algorithm);
  if (operation_ == Operation::broadcast && comm_.rank() == 0) {
    std::memcpy(out_.data(), input(), bytes());
  }
  Index wrong = count_;
  for (Index i = 0; i < out_count() && wrong == count_; ++i) {
    const double expected = expected_at(i);
    const double got = element(out_.data(), i, type_);
    if (!(std::abs(got - expected) <= tolerance(type_, expected))) wrong = i;
  }
  all_reduce(comm_, &wrong, &wrong, 1, DType::i64, ReduceOp::min);
  if (wrong == count_) return;
  throw Error("bench " + std::string(name_of(operation_)),
              fmt::format("{} on {} bytes: element {} is wrong on some rank", algorithm, bytes(),
                          wrong),
              "report this");
}

std::vector<std::string> Contest::those_that_apply(const std::vector<std::string>& names) {
  std::vector<std::string> apply;
  for (const std::string& name : names) {
    if (name == "reproducible" && !sums_rounded(operation_, type_, op_)) continue;
    try {
      run(name);
      apply.push_back(name);
    } catch (const Error&) {
      // Buffers that are not shared, ranks on several nodes: known to all ranks alike.
    }
  }
  return apply;
}

}  // namespace shoal::bench
