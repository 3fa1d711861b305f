#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include <fmt/format.h>
#include <omp.h>
#include <shoal/bench/bench.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/error.hpp>

#include "kernels_peers.hpp"
#include "peak.hpp"
#include "report.hpp"
#include "timing.hpp"

namespace shoal::bench {
namespace {

using kernels::Precision;
using kernels::Trans;

// Square ones, GPT-2 124M's with 256 tokens, and a few rows as in generating text.
const std::vector<GemmShape> default_shapes = {
    {512, 512, 512},   {1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 4096, 4096},
    {256, 2304, 768},  {256, 3072, 768},   {256, 768, 3072},   {1, 4096, 4096},
    {2, 4096, 4096},   {4, 4096, 4096},    {8, 4096, 4096},    {16, 4096, 4096}};

struct KernelType {
  const char* name;
  Precision precision;
  const char* about;
};
constexpr KernelType kernel_types[] = {
    {"fp32", Precision::fp32, "fp32"},
    {"bf16", Precision::bf16, "operands in fp32, rounded to bf16 on the way"},
    {"bf16s", Precision::bf16, "operands stored in bf16"},
    {"int8", Precision::fp32, "operands in int8, result scaled by row and column"},
    {"bf16x2", Precision::bf16x2, "fp32 operands as sums of two bf16"},
    {"bf16x3", Precision::bf16x3, "fp32 operands as sums of three bf16"}};

const KernelType& kernel_type(const std::string& name) {
  for (const KernelType& type : kernel_types) {
    if (name == type.name) return type;
  }
  throw UsageError("bench kernels", "\"" + name + "\" is no type of product",
                   "use fp32, bf16, bf16s, int8, bf16x2 or bf16x3");
}

// Operands and results of one row of the table.
struct KernelCase {
  KernelCase(const GemmShape& of, const KernelType& as)
      : shape(of),
        type(as),
        name(as.name),
        a(of.m * of.k),
        b(of.n * of.k),
        c(of.m * of.n),
        reference(of.m * of.n),
        peer_c(of.m * of.n) {
    std::mt19937 random(12345);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& x : a) x = uniform(random);
    for (float& x : b) x = uniform(random);
    openblas_product(shape, a.data(), b.data(), reference.data());
    if (name == "bf16s") {
      a16 = Buffer<bfloat16>(a.size());
      b16 = Buffer<bfloat16>(b.size());
      std::transform(a.begin(), a.end(), a16.begin(), to_bfloat16);
      std::transform(b.begin(), b.end(), b16.begin(), to_bfloat16);
    }
    if (name == "int8") {
      a8 = Buffer<std::int8_t>(a.size());
      b8 = Buffer<std::int8_t>(b.size());
      scale_a = Buffer<float>(shape.m);
      scale_b = Buffer<float>(shape.n);
      kernels::quantize_rows(shape.m, shape.k, a.data(), a8.data(), scale_a.data());
      kernels::quantize_rows(shape.n, shape.k, b.data(), b8.data(), scale_b.data());
    }
  }

  void multiply() {
    const auto [m, n, k] = shape;
    if (name == "int8") {
      kernels::gemm_int8(m, n, k, a8.data(), k, scale_a.data(), b8.data(), k, scale_b.data(),
                         c.data(), n);
    } else if (name == "bf16s") {
      kernels::gemm_bf16(Trans::no, Trans::yes, m, n, k, a16.data(), k, b16.data(), k, c.data(), n);
    } else {
      kernels::gemm(Trans::no, Trans::yes, m, n, k, 1.0f, a.data(), k, b.data(), k, 0.0f, c.data(),
                    n, type.precision);
    }
  }

  std::vector<KernelPeer> peers() {
    if (name == "int8") {
      return onednn_int8_products(shape, a8.data(), b8.data(),
                                  reinterpret_cast<std::int32_t*>(peer_c.data()));
    }
    std::vector<KernelPeer> found;
    if (name == "bf16") found = onednn_bf16_products(shape, a.data(), b.data(), peer_c.data());
    if (name == "bf16s") found = onednn_bf16_products(shape, a16.data(), b16.data(), peer_c.data());
    if (found.empty()) {
      found.push_back({"OpenBLAS sgemm",
                       [this] { openblas_product(shape, a.data(), b.data(), peer_c.data()); }});
    }
    return found;
  }

  // The weights, which in a skinny product are nearly all that is read.
  std::pair<const void*, Bytes> weights() const {
    if (name == "int8") return {b8.data(), static_cast<Bytes>(b8.size())};
    if (name == "bf16s") return {b16.data(), static_cast<Bytes>(b16.size()) * 2};
    return {b.data(), static_cast<Bytes>(b.size()) * 4};
  }

  // The rounding of operands in [-1, 1] to `unit` relative, in a sum of k products: its standard
  // deviation is about unit·sqrt(k)/3; eight of them hold for millions of elements.
  void check() const {
    const double unit = name == "int8"                    ? 1.0 / 127
                        : name == "bf16" || name == "bf16s" ? 0x1p-8
                        : name == "bf16x2"                ? 0x1p-15
                                                          : 0x1p-20;
    const double allowed = 8 * unit * std::sqrt(static_cast<double>(shape.k)) / 3 + 1e-6;
    for (Index i = 0; i < c.size(); ++i) {
      const double difference = std::abs(double{c[i]} - double{reference[i]});
      if (!(difference <= allowed)) {
        throw Error("bench kernels",
                    fmt::format("{} product {}x{}x{}: element {} is {}, OpenBLAS in fp32 says {}",
                                name, shape.m, shape.n, shape.k, i, c[i], reference[i]),
                    "report this");
      }
    }
  }

  // Largest error, against fp64, of some thousand elements, in units of 2^-24·Σ|a|·|b|.
  double error_of(const Buffer<float>& result) const {
    double worst = 0;
    const Index step_m = std::max<Index>(1, shape.m / 48), step_n = std::max<Index>(1, shape.n / 48);
    for (Index i = 0; i < shape.m; i += step_m) {
      for (Index j = 0; j < shape.n; j += step_n) {
        double sum = 0, size = 0;
        for (Index l = 0; l < shape.k; ++l) {
          const double product = double{a[i * shape.k + l]} * double{b[j * shape.k + l]};
          sum += product;
          size += std::abs(product);
        }
        worst = std::max(worst, std::abs(double{result[i * shape.n + j]} - sum) / size * 0x1p24);
      }
    }
    return worst;
  }

  GemmShape shape;
  const KernelType& type;
  std::string name;
  Buffer<float> a, b, c, reference, peer_c;
  Buffer<bfloat16> a16, b16;
  Buffer<std::int8_t> a8, b8;
  Buffer<float> scale_a, scale_b;
};

std::string backend_of(const KernelType& type) {
  return std::string(type.name) == "int8" ? kernels::gemm_backend_int8()
                                          : kernels::gemm_backend(type.precision);
}

}  // namespace

GemmShape GemmShape::parse(const std::string& text) {
  GemmShape shape;
  const char* at = text.data();
  const char* const end = at + text.size();
  bool valid = true;
  for (Index* extent : {&shape.m, &shape.n, &shape.k}) {
    const auto [next, error] = std::from_chars(at, end, *extent);
    valid = valid && error == std::errc() && *extent >= 1 && *extent <= (Index{1} << 20);
    at = next;
    if (extent != &shape.k) {
      valid = valid && at != end && (*at == ',' || *at == 'x');
      if (at != end) ++at;
    }
  }
  if (!valid || at != end) {
    throw UsageError("--shapes", "\"" + text + "\" is not a shape",
                     "write m,n,k such as 768,512,128");
  }
  return shape;
}

void kernels(const Communicator& world, const KernelsOptions& options) {
  if (world.size() != 1) {
    throw UsageError("bench kernels", std::to_string(world.size()) + " ranks are running",
                     "run it in one process: shoal bench kernels");
  }
  for (const std::string& type : options.types) kernel_type(type);
  Report report(world, options.json);
  const int threads = omp_get_max_threads();
  for (const std::string& name : options.types) {
    const KernelType& type = kernel_type(name);
    const double peak = peak_gflops(name);
    const bool fp32_grade = type.precision != Precision::bf16 && name != "int8";
    fmt::print("{} ({}) on {} thread{}: {}\n", name, type.about, threads, threads == 1 ? "" : "s",
               backend_of(type));
    fmt::print("{:>15} {:>10} {:>8} {:>6} {:>6} {:>8} {:>8}  {}{}\n", "m x n x k", "median us",
               "GFLOP/s", "peak", "GB/s", "of bound", "of peer", "peer",
               fp32_grade ? ", errors of both (2^-24)" : "");
    for (const GemmShape& shape : options.shapes.empty() ? default_shapes : options.shapes) {
      KernelCase one(shape, type);
      const std::vector<KernelPeer> peers = one.peers();
      const auto [weights, bytes] = one.weights();
      std::vector<std::function<void()>> calls = {[&] { one.multiply(); },
                                                  [&] { read_memory(weights, bytes); }};
      for (const KernelPeer& peer : peers) calls.push_back(peer.call);
      const auto medians = interleaved_medians(world, calls, options.seconds_per_shape, 5, 1);
      one.check();
      const auto best = std::min_element(medians.begin() + 2, medians.end());
      const KernelPeer& peer = peers[static_cast<std::size_t>(best - medians.begin() - 2)];
      const double operations = 2.0 * static_cast<double>(shape.m) *
                                static_cast<double>(shape.n) * static_cast<double>(shape.k);
      const double bound = std::max(operations / peak * 1e-9, medians[1]);
      const double bandwidth = static_cast<double>(bytes) / medians[0] * 1e-9;
      const std::string text = fmt::format("{}x{}x{}", shape.m, shape.n, shape.k);
      Row row;
      std::string errors;
      if (fp32_grade) {
        row.more["error"] = one.error_of(one.c);
        row.more["peer_error"] = one.error_of(one.reference);
        errors = fmt::format(", {:.2f} and {:.2f}", row.more["error"], row.more["peer_error"]);
      }
      fmt::print("{:>15} {:>10.1f} {:>8.1f} {:>5.0f}% {:>6.1f} {:>7.0f}% {:>8.2f}  {}{}\n", text,
                 medians[0] * 1e6, operations / medians[0] * 1e-9,
                 100 * operations / medians[0] * 1e-9 / peak, bandwidth, 100 * bound / medians[0],
                 *best / medians[0], peer.name, errors);
      std::fflush(stdout);
      row.op = "gemm";
      row.shape = text;
      row.algorithm = "shoal " + name;
      row.median_us = medians[0] * 1e6;
      row.peer = peer.name;
      row.peer_us = *best * 1e6;
      row.bound_us = bound * 1e6;
      row.more["gflops"] = operations / medians[0] * 1e-9;
      row.more["peak_gflops"] = peak;
      row.more["weights_gb_per_s"] = bandwidth;
      row.more["threads"] = threads;
      row.notes = {{"dtype", name}};
      report.add(std::move(row));
    }
    fmt::print("Peak {:.0f} GFLOP/s: the best here of a loop in registers and a 1536-cube product.\n"
               "GB/s counts the weights (n x k) once; the bound is the longer of the arithmetic at "
               "the peak and reading\nthem. \"of peer\": its time over ours; the best of the ways "
               "that the library offers, packing included.\n\n",
               peak);
  }
  report.write();
}

}  // namespace shoal::bench
