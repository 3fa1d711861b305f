// Elements of any type, and what a reduction of them must give.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/dtype.hpp>
#include <shoal/runtime/reduce_op.hpp>

namespace shoal::testing {

/// A number that holds every element exactly: integers as integers (they wrap), the rest as fp64.
struct Number {
  std::int64_t integer = 0;
  double real = 0;
};

Number get(const void* data, Index index, DType type);
void set(void* data, Index index, DType type, const Number& value);

/// Memory for `count` elements that starts `shift` elements behind an aligned address, so that
/// unaligned data is seen too. A poisoned margin behind the end shows writes out of bounds.
class Elements {
 public:
  Elements(Index count, DType type, Memory memory = Memory::local, Index shift = 0);
  void* data() const { return count_ == 0 && shift_ == 0 ? nullptr : at(0); }
  void* at(Index index) const;
  Index count() const { return count_; }
  DType type() const { return type_; }
  Number operator[](Index index) const { return get(at(index), 0, type_); }
  void poison();
  /// Random numbers; products of them neither vanish nor overflow.
  void fill(std::mt19937_64& from);
  void copy_from(const Elements& other);
  bool margin_intact() const;
  /// FNV-1a of the contents, on top of `hash`.
  std::uint64_t hash(std::uint64_t hash) const;

 private:
  Bytes margin_bytes() const { return 64; }
  Index count_;
  DType type_;
  Index shift_;
  Storage storage_;
};

/// The inputs of all ranks: the same on every rank, since all draw from the same streams.
std::vector<Elements> inputs_of_all(int ranks, Index count, DType type);

/// What a reduction of `inputs` must give at `index`, and how far off it may be: a sum of p terms in
/// any order is off by at most (p−1)·ε·Σ|x|, rounded once more at each of at most p+1 hops in types
/// of 16 bits.
struct Expected {
  Number value;
  double tolerance = 0;
};
Expected expected(const std::vector<Elements>& inputs, Index index, ReduceOp op);

/// For every element: once, where many results are compared with it.
std::vector<Expected> expected(const std::vector<Elements>& inputs, ReduceOp op);

/// Compares `count` elements of `got` with the reduction of inputs[...][first + i].
::testing::AssertionResult is_reduction(const Elements& got, const std::vector<Elements>& inputs,
                                        Index first, Index count, ReduceOp op);
/// The same with wanted[first + i].
::testing::AssertionResult is_reduction(const Elements& got, const std::vector<Expected>& wanted,
                                        Index first, Index count);
/// Compares elements bit for bit.
::testing::AssertionResult same(const void* got, const void* wanted, Index count, DType type);
/// True on every rank if `hash` is the same on all ranks of the test.
bool agreed(std::uint64_t hash);

/// Lengths around the widths of vectors, cache lines, pages and inlined messages.
inline constexpr Index lengths[] = {0,  1,  2,  3,  7,   8,   15,   16,   17,
                                    63, 64, 65, 250, 1000, 4097, 65536 + 3};

/// Where a case puts its buffers; `mixed`: odd ranks have private ones.
enum class Where { local, shared, mixed };
Memory memory_of(Where where, Rank rank);

/// Names of the algorithms of an operation that apply to the ranks of the test, and "" for the automatic choice.
std::vector<std::string> algorithm_names(Operation operation);
/// True if an algorithm by this name can do it: node_shared takes shared buffers only.
bool fits(const std::string& algorithm, Where where, bool inlined);

}  // namespace shoal::testing
