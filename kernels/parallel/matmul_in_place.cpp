#include "matmul_in_place.hpp"

#include <array>
#include <cstdint>
#include <cstring>

#include <shoal/collectives/all_gather.hpp>
#include <shoal/collectives/barrier.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/node_memory.hpp>
#include <shoal/runtime/trace.hpp>

namespace shoal::kernels {
namespace {

// Where the parts of a rank lie; owner −1: nowhere that others see.
struct Places {
  std::array<std::int64_t, 3> owner;
  std::array<std::int64_t, 3> offset;
};

struct Addresses {
  std::vector<const float*> a, b;
  std::vector<float*> c;
};

// An empty part is nobody's business, wherever it lies.
bool find_parts(const Product& p, Addresses& found) {
  const auto ranks = static_cast<std::size_t>(p.ranks->size());
  const auto me = static_cast<std::size_t>(p.ranks->rank());
  if (ranks == 1) {  // wherever they lie
    found.a.push_back(p.a);
    found.b.push_back(p.b);
    found.c.push_back(p.c);
    return true;
  }
  Places mine{};
  const void* const pointers[] = {p.a, p.b, p.c};
  const Layout* const layouts[] = {&p.a_at, &p.b_at, &p.c_at};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto location = node_memory::locate(pointers[i]);
    if (location) {
      mine.owner[i] = location->owner;
      mine.offset[i] = static_cast<std::int64_t>(location->offset);
    } else {
      mine.owner[i] = layouts[i]->of_rank[me].empty() ? -2 : -1;
    }
  }
  std::vector<Places> places(ranks);
  all_gather(*p.ranks, &mine, sizeof mine / 8, places.data(), DType::i64);
  for (const Places& of : places) {
    if (std::find(of.owner.begin(), of.owner.end(), -1) != of.owner.end()) return false;
  }
  const auto address = [&](std::size_t rank, std::size_t i) -> float* {
    if (places[rank].owner[i] < 0) return nullptr;
    return static_cast<float*>(
        node_memory::address({static_cast<std::int32_t>(places[rank].owner[i]),
                              static_cast<std::uint64_t>(places[rank].offset[i])}));
  };
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    found.a.push_back(address(rank, 0));
    found.b.push_back(address(rank, 1));
    found.c.push_back(address(rank, 2));
  }
  // What is one's own is read by its own address.
  found.a[me] = p.a;
  found.b[me] = p.b;
  found.c[me] = p.c;
  return true;
}

template <class T>
T* element(T* part, const Rect& rect, Index row, Index col) {
  return part + (row - rect.rows.begin) * rect.cols.size + (col - rect.cols.begin);
}

const Holders& holders_of(const Layout& layout, Index row, Index col) {
  return *std::find_if(layout.parts.begin(), layout.parts.end(), [&](const Holders& part) {
    return meet(part.rect, Rect{{row, 1}, {col, 1}}).area() == 1;
  });
}

// Memory that is kept from one panel to the next.
const float* dense_panel(Buffer<float>& room, Index rows, Index cols, const float* from, Index ld,
                         Index panel_ld) {
  if (room.size() < rows * panel_ld) room = Buffer<float>(rows * panel_ld);
  for (Index row = 0; row < rows; ++row) {
    std::copy_n(from + row * ld, cols, room.data() + row * panel_ld);
  }
  return room.data();
}

// C = A·B + beta·C, panel by panel of the sum, from copies in private memory whose rows lie apart by no
// power of two. Systems often give shared memory in small pages, where a product that walks down a column
// needs a new one at each step: two ranks on one EPYC of Zen 5, n = 1024, from 0.78 of the speed of one process
// with two threads to more than it. To sum C up in private memory, too, was slower: 4096 cubed 433, 455 and 416 ms
// against 384, 423 and 379 in three pairs of runs. Products in bf16 make copies of their own.
void multiply_panels(Index m, Index n, Index k, const float* a, Index lda, const float* b, Index ldb,
                     float beta, float* c, Index ldc, Precision precision) {
  constexpr Index panel_depth = 1024;
  constexpr Index padding = 16;
  constexpr Index few_rows = 64;  // for which copies cost more than they bring
  if (precision == Precision::bf16 || m < few_rows || n < few_rows) {
    gemm(Trans::no, Trans::no, m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc, precision);
    return;
  }
  static thread_local Buffer<float> room_a, room_b;
  for (Index begin = 0; begin < k; begin += panel_depth) {
    const Index depth = std::min(panel_depth, k - begin);
    const Index ld_a = depth + padding, ld_b = n + padding;
    gemm(Trans::no, Trans::no, m, n, depth, 1.0f,
         dense_panel(room_a, m, depth, a + begin, lda, ld_a), ld_a,
         dense_panel(room_b, depth, n, b + begin * ldb, ldb, ld_b), ld_b, begin == 0 ? beta : 1.0f,
         c, ldc, precision);
  }
}

// `target` of C, a part of what `rank` holds.
void multiply_rect(const Product& p, const Addresses& at, const Rect& target, Rank rank,
                   Precision precision) {
  const Rect& c_rect = p.c_at.of_rank[static_cast<std::size_t>(rank)];
  float* const c = at.c[static_cast<std::size_t>(rank)];
  const Rank me = p.ranks->rank();
  const std::vector<Block> depths = cut(p.a_at.col_blocks(), p.b_at.row_blocks());
  if (depths.empty()) {
    for (Index row = target.rows.begin; row < target.rows.end(); ++row) {
      std::fill_n(element(c, c_rect, row, target.cols.begin), target.cols.size, 0.0f);
    }
    return;
  }
  for (const Block& rows : cut(p.a_at.row_blocks(), {target.rows})) {
    for (const Block& cols : cut(p.b_at.col_blocks(), {target.cols})) {
      float beta = 0;
      for (const Block& depth : depths) {
        const Holders& a = holders_of(p.a_at, rows.begin, depth.begin);
        const Holders& b = holders_of(p.b_at, depth.begin, cols.begin);
        multiply_panels(
            rows.size, cols.size, depth.size,
            element(at.a[static_cast<std::size_t>(a.source_for(me))], a.rect, rows.begin,
                    depth.begin),
            a.rect.cols.size,
            element(at.b[static_cast<std::size_t>(b.source_for(me))], b.rect, depth.begin,
                    cols.begin),
            b.rect.cols.size, beta, element(c, c_rect, rows.begin, cols.begin), c_rect.cols.size,
            precision);
        beta = 1;
      }
    }
  }
}

// What each rank multiplies. Its own part of C where these are about alike, or else rows of the whole.
std::vector<Rect> shares_of(const Product& p) {
  const auto ranks = static_cast<std::size_t>(p.ranks->size());
  std::vector<Rect> shares(ranks);
  Index largest = 0;
  for (const Holders& part : p.c_at.parts) {
    const auto count = static_cast<Index>(part.ranks.size());
    const bool by_rows = part.rect.rows.size >= part.rect.cols.size;
    for (Index i = 0; i < count; ++i) {
      Rect share = part.rect;
      Block& cut_along = by_rows ? share.rows : share.cols;
      const Block block = block_of(cut_along.size, count, i);
      cut_along = {cut_along.begin + block.begin, block.size};
      largest = std::max(largest, share.area());
      shares[static_cast<std::size_t>(part.ranks[static_cast<std::size_t>(i)])] = share;
    }
  }
  const bool by_rows = p.m >= p.n;
  const Index parts = p.ranks->size();
  const Index alike = block_of(by_rows ? p.m : p.n, parts, 0).size * (by_rows ? p.n : p.m);
  if (4 * largest <= 5 * alike) return shares;
  for (Index rank = 0; rank < parts; ++rank) {
    shares[static_cast<std::size_t>(rank)] =
        by_rows ? Rect{block_of(p.m, parts, rank), {0, p.n}}
                : Rect{{0, p.m}, block_of(p.n, parts, rank)};
  }
  return shares;
}

}  // namespace

bool matmul_in_place(const Product& p, Precision precision) {
  Addresses at;
  if (!find_parts(p, at)) return false;  // also the barrier after which all may read A and B
  const Rank me = p.ranks->rank();
  const std::vector<Rect> shares = shares_of(p);
  {
    const trace::Span span("matmul in place", trace::Category::compute);
    for (const Holders& part : p.c_at.parts) {
      const Rect mine = meet(shares[static_cast<std::size_t>(me)], part.rect);
      if (!mine.empty()) multiply_rect(p, at, mine, part.source_for(me), precision);
    }
  }
  barrier(*p.ranks);
  bool copies = false;
  for (const Holders& part : p.c_at.parts) copies |= part.ranks.size() > 1;
  if (!copies) return true;
  // Each of those that hold a part copies what others have multiplied into theirs.
  const Rect& own = p.c_at.of_rank[static_cast<std::size_t>(me)];
  for (const Holders& part : p.c_at.parts) {
    if (!part.have(me)) continue;
    for (Rank rank = 0; rank < p.ranks->size(); ++rank) {
      const Rect theirs = meet(shares[static_cast<std::size_t>(rank)], part.rect);
      const Rank source = part.source_for(rank);
      if (theirs.empty() || source == me) continue;
      for (Index row = theirs.rows.begin; row < theirs.rows.end(); ++row) {
        std::memcpy(element(p.c, own, row, theirs.cols.begin),
                    element(at.c[static_cast<std::size_t>(source)], own, row, theirs.cols.begin),
                    static_cast<std::size_t>(theirs.cols.size) * sizeof(float));
      }
    }
  }
  barrier(*p.ranks);
  return true;
}

}  // namespace shoal::kernels
