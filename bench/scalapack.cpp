#include "scalapack.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <vector>

#include <shoal/collectives/all_reduce.hpp>

namespace shoal::bench {
namespace {

// Fortran's and BLACS's calling conventions.
struct ScalapackLibrary {
  void (*pinfo)(int*, int*);
  void (*get)(int, int, int*);
  void (*gridinit)(int*, const char*, int, int);
  void (*gridinfo)(int, int*, int*, int*, int*);
  int (*numroc)(const int*, const int*, const int*, const int*, const int*);
  void (*descinit)(int*, const int*, const int*, const int*, const int*, const int*, const int*,
                   const int*, const int*, int*);
  void (*psgemm)(const char*, const char*, const int*, const int*, const int*, const float*,
                 const float*, const int*, const int*, const int*, const float*, const int*,
                 const int*, const int*, const float*, float*, const int*, const int*, const int*);

  bool load() {
    void* library = nullptr;
    for (const char* name : {"libscalapack-openmpi.so.2.2", "libscalapack-openmpi.so",
                             "libscalapack-openmpi.so.2.1", "libscalapack.so"}) {
      library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library != nullptr) break;
    }
    if (library == nullptr) return false;
    const auto symbol = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    return symbol(pinfo, "Cblacs_pinfo") && symbol(get, "Cblacs_get") &&
           symbol(gridinit, "Cblacs_gridinit") && symbol(gridinfo, "Cblacs_gridinfo") &&
           symbol(numroc, "numroc_") && symbol(descinit, "descinit_") && symbol(psgemm, "psgemm_");
  }
};

class Psgemm : public ScalapackProduct {
 public:
  Psgemm(const ScalapackLibrary& library, int ranks, int n) : library_(library), n_(n) {
    int rank = 0, size = 0, context = 0;
    library_.pinfo(&rank, &size);
    library_.get(-1, 0, &context);
    int rows = 1;
    for (int i = 1; i * i <= ranks; ++i) {
      if (ranks % i == 0) rows = i;
    }
    library_.gridinit(&context, "Row", rows, ranks / rows);
    int grid_rows = 0, grid_cols = 0, row = 0, col = 0;
    library_.gridinfo(context, &grid_rows, &grid_cols, &row, &col);
    const int block = 64, zero = 0;
    const int mine_rows = library_.numroc(&n_, &block, &row, &zero, &grid_rows);
    const int mine_cols = library_.numroc(&n_, &block, &col, &zero, &grid_cols);
    const int ld = std::max(1, mine_rows);
    int info = 0;
    library_.descinit(description_, &n_, &n_, &block, &block, &zero, &zero, &context, &ld, &info);
    const auto elements = static_cast<std::size_t>(ld) * static_cast<std::size_t>(mine_cols);
    a_.assign(elements, 0.5f);
    b_.assign(elements, 0.25f);
    c_.assign(elements, 0.0f);
  }

  void run() override {
    const int one = 1;
    const float alpha = 1, beta = 0;
    library_.psgemm("N", "N", &n_, &n_, &n_, &alpha, a_.data(), &one, &one, description_, b_.data(),
                    &one, &one, description_, &beta, c_.data(), &one, &one, description_);
  }

 private:
  ScalapackLibrary library_;
  int n_;
  int description_[9] = {};
  std::vector<float> a_, b_, c_;
};

}  // namespace

std::unique_ptr<ScalapackProduct> ScalapackProduct::find(const Communicator& world, Index n) {
  ScalapackLibrary library{};
  double found = library.load() ? 1 : 0;
  all_reduce(world, &found, &found, 1, DType::f64, ReduceOp::min);
  if (found == 0) return nullptr;
  return std::make_unique<Psgemm>(library, world.size(), static_cast<int>(n));
}

}  // namespace shoal::bench
