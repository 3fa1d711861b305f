// Rank (i, j, l) of the grid multiplies block i of the rows of A with block j of the columns of B over
// block l of the sum. The sum comes in slices: a slice has a bit of every rank's part of A and B, so that
// all ranks send all the time; any order of the sum will do as long as A and B have the same. The terms of
// C go to their owners at the end, who add them up in order of rank.
//
// Cost (α, β of the wire, p ranks; w bytes an element): the arithmetic 2·(m/pm)·(n/pn)·(k/pk)/rate, of
// which a slice runs beside the arrival of the next: A and B bring w·(k/pk)·(m/pm + n/pn) bytes, less
// what the rank holds, and C w·pk·|C part|. So p^(1/3) layers of the sum are best where k is as long as m
// and n and memory is spare (Agarwal et al. 1995; Solomonik & Demmel 2011), and with short k none.
#include "matmul_grid.hpp"

#include <algorithm>
#include <cmath>

#include <shoal/collectives/all_to_all.hpp>
#include <shoal/collectives/nonblocking.hpp>
#include <shoal/collectives/registry.hpp>
#include <shoal/runtime/buffer.hpp>
#include <shoal/runtime/trace.hpp>

#include "../local/scratch.hpp"

namespace shoal::kernels {
namespace {

// Of one core; grids are compared with each other only, and it says how much hides behind arithmetic.
constexpr double operations_per_second = 1e11;
constexpr Index least_depth = 128;  // of a slice: below it products are slow
constexpr int most_slices = 8;

struct Place {
  Block rows, cols, sum;
  bool idle = false;
};

Place place_of(const Product& p, const Grid& grid, Rank rank) {
  if (rank >= grid.pm * grid.pn * grid.pk) return {{}, {}, {}, true};
  const int layer = rank / (grid.pm * grid.pn);
  const int row = rank / grid.pn % grid.pm;
  const int col = rank % grid.pn;
  return {block_of(p.m, grid.pm, row), block_of(p.n, grid.pn, col), block_of(p.k, grid.pk, layer)};
}

// What a rank needs of the sum in one slice: a bit of each piece that A and B are cut into.
std::vector<Block> slice_of(const std::vector<Block>& pieces, const Block& sum, int slices,
                            int slice) {
  std::vector<Block> bits;
  for (const Block& piece : pieces) {
    const Block mine = meet(piece, sum);
    const Block bit = block_of(mine.size, slices, slice);
    if (bit.size > 0) bits.push_back({mine.begin + bit.begin, bit.size});
  }
  return bits;
}

Index depth_of(const std::vector<Block>& bits) {
  Index depth = 0;
  for (const Block& bit : bits) depth += bit.size;
  return depth;
}

// What products work in. It stays with the thread, for those that follow: fresh pages would cost a fault
// each, on virtual machines as much as the arithmetic.
struct WorkingMemory {
  struct OfSlice {
    Scratch out, in, a, b;
  } slices[2];
  Scratch term, handed, taken;

  void keep_if_small() {
    constexpr std::size_t most_kept = std::size_t{256} << 20;
    std::size_t bytes = term.bytes() + handed.bytes() + taken.bytes();
    for (const OfSlice& s : slices) {
      bytes += s.out.bytes() + s.in.bytes() + s.a.bytes() + s.b.bytes();
    }
    if (bytes > most_kept) *this = {};
  }
};

WorkingMemory& working_memory() {
  static thread_local WorkingMemory memory;
  return memory;
}

// One slice on its way: what is sent and received, and the panels made of it.
struct Slice {
  float *out = nullptr, *in = nullptr;
  std::vector<Index> send_counts, receive_counts;
  Work arrival;
};

// Calls visit(holders, rect, row or column at which the bit begins in the panel) for all that `to` needs of
// A, then of B, in an order that sender and receiver share.
template <class Visit>
void for_each_need(const Product& p, const Place& to, const std::vector<Block>& bits,
                   const Visit& visit) {
  if (to.idle) return;
  Index at = 0;
  for (const Block& bit : bits) {
    for (const Holders& part : p.a_at.parts) {
      const Rect rect = meet(part.rect, Rect{to.rows, bit});
      if (!rect.empty()) visit(true, part, rect, at + rect.cols.begin - bit.begin);
    }
    for (const Holders& part : p.b_at.parts) {
      const Rect rect = meet(part.rect, Rect{bit, to.cols});
      if (!rect.empty()) visit(false, part, rect, at + rect.rows.begin - bit.begin);
    }
    at += bit.size;
  }
}

void copy_rect(const Rect& rect, const float* from, Index ld_from, float* to, Index ld_to) {
  for (Index row = 0; row < rect.rows.size; ++row) {
    std::copy_n(from + row * ld_from, rect.cols.size, to + row * ld_to);
  }
}

template <class T>
T* inside(T* part, const Rect& whole, const Rect& rect) {
  return part + (rect.rows.begin - whole.rows.begin) * whole.cols.size +
         (rect.cols.begin - whole.cols.begin);
}

class GridProduct {
 public:
  GridProduct(const Product& product, const Grid& grid, Precision precision)
      : p_(product),
        grid_(grid),
        precision_(precision),
        me_(product.ranks->rank()),
        mine_(place_of(product, grid, me_)),
        own_(product.c_at.of_rank[static_cast<std::size_t>(me_)]),
        pieces_(cut(product.a_at.col_blocks(), product.b_at.row_blocks())),
        memory_(working_memory()) {
    const Rect term{mine_.rows, mine_.cols};
    // Where nobody else has terms of what this rank holds of C, and it holds what it makes, there is no
    // handing over.
    in_place_ = !mine_.idle && grid.pk == 1 && own_ == term;
    term_ = in_place_ ? product.c : memory_.term.get<float>(as_size(term.area()));
  }

  void run() {
    Slice slices[2];
    start(slices[0], 0);
    for (int slice = 0; slice < grid_.slices; ++slice) {
      Slice& now = slices[slice % 2];
      now.arrival.wait();
      if (slice + 1 < grid_.slices) start(slices[(slice + 1) % 2], slice + 1);
      multiply(now, slice);
    }
    if (!summed_) std::fill_n(term_, mine_.rows.size * mine_.cols.size, 0.0f);
    hand_over();
    memory_.keep_if_small();
  }

 private:
  static std::size_t as_size(Index count) { return static_cast<std::size_t>(count); }

  std::vector<Block> bits(const Place& place, int slice) const {
    return slice_of(pieces_, place.sum, grid_.slices, slice);
  }

  // Calls visit(rank, holders, rect) for all that others need of this rank's parts.
  template <class Visit>
  void for_each_gift(int slice, const Visit& visit) const {
    for (Rank to = 0; to < p_.ranks->size(); ++to) {
      if (to == me_) continue;
      const Place place = place_of(p_, grid_, to);
      for_each_need(p_, place, bits(place, slice),
                    [&](bool of_a, const Holders& part, const Rect& rect, Index) {
                      if (part.source_for(to) == me_) visit(to, of_a ? p_.a : p_.b, part, rect);
                    });
    }
  }

  void start(Slice& s, int slice) {
    const std::size_t ranks = as_size(p_.ranks->size());
    s.send_counts.assign(ranks, 0);
    s.receive_counts.assign(ranks, 0);
    Index leaving = 0, arriving = 0;
    for_each_gift(slice, [&](Rank to, const float*, const Holders&, const Rect& rect) {
      s.send_counts[as_size(to)] += rect.area();
      leaving += rect.area();
    });
    WorkingMemory::OfSlice& memory = memory_.slices[slice % 2];
    s.out = memory.out.get<float>(as_size(leaving));
    float* next = s.out;
    for_each_gift(slice, [&](Rank, const float* from, const Holders& part, const Rect& rect) {
      copy_rect(rect, inside(from, part.rect, rect), part.rect.cols.size, next, rect.cols.size);
      next += rect.area();
    });
    for_each_need(p_, mine_, bits(mine_, slice),
                  [&](bool, const Holders& part, const Rect& rect, Index) {
                    const Rank from = part.source_for(me_);
                    if (from == me_) return;
                    s.receive_counts[as_size(from)] += rect.area();
                    arriving += rect.area();
                  });
    s.in = memory.in.get<float>(as_size(arriving));
    s.arrival = start_all_to_all(*p_.ranks, s.out, s.send_counts, s.in, s.receive_counts, DType::f32);
  }

  void multiply(Slice& s, int slice) {
    if (mine_.idle) return;
    const std::vector<Block> mine = bits(mine_, slice);
    const Index depth = depth_of(mine), cols = mine_.cols.size;
    if (depth == 0 || mine_.rows.size * cols == 0) return;
    WorkingMemory::OfSlice& memory = memory_.slices[slice % 2];
    float* a = memory.a.get<float>(as_size(mine_.rows.size * depth));
    float* b = memory.b.get<float>(as_size(depth * cols));
    std::vector<Index> next(s.receive_counts.size(), 0);
    for (std::size_t rank = 1; rank < next.size(); ++rank) {
      next[rank] = next[rank - 1] + s.receive_counts[rank - 1];
    }
    for_each_need(p_, mine_, mine, [&](bool of_a, const Holders& part, const Rect& rect, Index at) {
      const Rank from = part.source_for(me_);
      const float* data = nullptr;
      Index ld = rect.cols.size;
      if (from == me_) {
        data = inside(of_a ? p_.a : p_.b, part.rect, rect);
        ld = part.rect.cols.size;
      } else {
        Index& position = next[as_size(from)];
        data = s.in + position;
        position += rect.area();
      }
      if (of_a) {
        copy_rect(rect, data, ld, a + (rect.rows.begin - mine_.rows.begin) * depth + at, depth);
      } else {
        copy_rect(rect, data, ld, b + at * cols + (rect.cols.begin - mine_.cols.begin), cols);
      }
    });
    const trace::Span span("matmul slice", trace::Category::compute);
    gemm(Trans::no, Trans::no, mine_.rows.size, cols, depth, 1.0f, a, depth, b, cols,
         summed_ ? 1.0f : 0.0f, term_, cols, precision_);
    summed_ = true;
  }

  // Terms to those who hold C, who add them up in order of rank.
  void hand_over() {
    const std::size_t ranks = as_size(p_.ranks->size());
    const Rect mine{mine_.rows, mine_.cols};
    std::vector<Index> send_counts(ranks, 0), receive_counts(ranks, 0);
    Index leaving = 0, arriving = 0;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      if (static_cast<Rank>(rank) == me_) continue;
      const Place place = place_of(p_, grid_, static_cast<Rank>(rank));
      leaving += send_counts[rank] = meet(mine, p_.c_at.of_rank[rank]).area();
      arriving += receive_counts[rank] = meet(own_, Rect{place.rows, place.cols}).area();
    }
    float* out = memory_.handed.get<float>(as_size(leaving));
    float* next = out;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      if (send_counts[rank] == 0) continue;
      const Rect theirs = meet(mine, p_.c_at.of_rank[rank]);
      copy_rect(theirs, inside(term_, mine, theirs), mine.cols.size, next, theirs.cols.size);
      next += theirs.area();
    }
    float* in = memory_.taken.get<float>(as_size(arriving));
    all_to_all(*p_.ranks, out, send_counts, in, receive_counts, DType::f32);
    if (in_place_) return;
    const float* arrived = in;
    for (Rank rank = 0; rank < p_.ranks->size(); ++rank) {
      const Place place = place_of(p_, grid_, rank);
      const Rect part = meet(own_, Rect{place.rows, place.cols});
      if (part.empty()) continue;
      const bool is_mine = rank == me_;
      const float* from = is_mine ? inside(term_, mine, part) : arrived;
      const Index ld = is_mine ? mine.cols.size : part.cols.size;
      if (!is_mine) arrived += part.area();
      float* to = inside(p_.c, own_, part);
      const bool first = place.sum.begin == 0;
      for (Index row = 0; row < part.rows.size; ++row, from += ld) {
        float* target = to + row * own_.cols.size;
        if (first) {
          std::copy_n(from, part.cols.size, target);
        } else {
          for (Index col = 0; col < part.cols.size; ++col) target[col] += from[col];
        }
      }
    }
  }

  const Product& p_;
  const Grid& grid_;
  Precision precision_;
  Rank me_;
  Place mine_;
  const Rect& own_;  // what this rank holds of C
  std::vector<Block> pieces_;
  WorkingMemory& memory_;
  float* term_ = nullptr;  // what this rank makes of C, rows × cols
  bool in_place_ = false;  // that is its part of C itself
  bool summed_ = false;    // something was multiplied
};

void estimate(const Product& p, const Network& network, Grid& grid) {
  double arriving = 0, handed = 0, work = 0, held = 0;
  for (Rank rank = 0; rank < p.ranks->size(); ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    const Place place = place_of(p, grid, rank);
    const Rect need_a{place.rows, place.sum}, need_b{place.sum, place.cols};
    const auto bytes = [](const Rect& rect) { return 4.0 * static_cast<double>(rect.area()); };
    const double needs = bytes(need_a) + bytes(need_b);
    arriving = std::max(arriving, needs - bytes(meet(need_a, p.a_at.of_rank[at])) -
                                      bytes(meet(need_b, p.b_at.of_rank[at])));
    const Rect term{place.rows, place.cols};
    handed = std::max(handed, grid.pk * bytes(p.c_at.of_rank[at]) -
                                  bytes(meet(term, p.c_at.of_rank[at])));
    work = std::max(work, 2.0 * static_cast<double>(term.area()) *
                              static_cast<double>(place.sum.size));
    held = std::max(held, 4 * needs / grid.slices + 2 * bytes(term) +
                              grid.pk * bytes(p.c_at.of_rank[at]));
  }
  const double compute = work / operations_per_second;
  const double messages = network.alpha * p.ranks->size();
  const double travel = grid.slices * messages + arriving * network.beta;
  grid.seconds = std::max(compute, travel) + std::min(compute, travel) / grid.slices + messages +
                 handed * network.beta;
  grid.room = static_cast<Bytes>(held);
}

}  // namespace

std::string_view Grid::name() const {
  if (pk > 1) return "2.5d";
  if (pn == 1 && pm > 1) return "row";
  if (pm == 1) return "column";
  return "summa";
}

std::string Grid::text() const {
  return std::string(name()) + ' ' + std::to_string(pm) + 'x' + std::to_string(pn) + 'x' +
         std::to_string(pk) + ", " + std::to_string(slices) + (slices == 1 ? " slice" : " slices");
}

std::vector<Grid> grids_for(const Product& p) {
  const Network network = typical_network(*p.ranks);
  const int ranks = p.ranks->size();
  std::vector<Grid> grids;
  for (int pm = 1; pm <= ranks; ++pm) {
    for (int pn = 1; pm * pn <= ranks; ++pn) {
      for (int pk = 1; pm * pn * pk <= ranks; ++pk) {
        // A few idle ranks may be worth a squarer grid, half of them are not.
        if (2 * pm * pn * pk <= ranks || pm > p.m || pn > p.n || pk > p.k) continue;
        Grid grid{pm, pn, pk};
        grid.slices = static_cast<int>(
            std::clamp<Index>(p.k / pk / least_depth, 1, ranks == 1 ? 1 : most_slices));
        estimate(p, network, grid);
        grids.push_back(grid);
      }
    }
  }
  // Small extents may leave no grid for so many ranks: then the first has all of it.
  if (grids.empty()) {
    grids.push_back({});
    estimate(p, network, grids.back());
  }
  std::stable_sort(grids.begin(), grids.end(),
                   [](const Grid& a, const Grid& b) { return a.seconds < b.seconds; });
  return grids;
}

void matmul_on_grid(const Product& product, const Grid& grid, Precision precision) {
  GridProduct(product, grid, precision).run();
}

}  // namespace shoal::kernels
