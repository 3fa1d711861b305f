#include <cblas.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <random>
#include <string>

#include <fmt/format.h>
#include <omp.h>
#include <shoal/bench/bench.hpp>
#include <shoal/kernels/local/gemm.hpp>
#include <shoal/runtime/error.hpp>

#include "peak.hpp"
#include "report.hpp"
#include "timing.hpp"

namespace shoal::bench {
namespace {

// nanoGPT's CPU configuration (768 tokens, width 128), GPT-2 124M (256 tokens), and a square one.
const std::vector<GemmShape> default_shapes = {
    {768, 384, 128},   {768, 128, 512},    {768, 512, 128},     {768, 65, 128},   {256, 2304, 768},
    {256, 3072, 768},  {256, 768, 3072},   {256, 50304, 768},   {1024, 1024, 1024}};

struct Operands {
  Operands(const GemmShape& shape, const std::string& type)
      : a(shape.m * shape.k), b(shape.n * shape.k), c(shape.m * shape.n), peer_c(shape.m * shape.n) {
    std::mt19937 random(12345);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& x : a) x = uniform(random);
    for (float& x : b) x = uniform(random);
    if (type != "int8") return;
    quantized_a = Buffer<std::int8_t>(a.size());
    quantized_b = Buffer<std::int8_t>(b.size());
    scale_a = Buffer<float>(shape.m);
    scale_b = Buffer<float>(shape.n);
    kernels::quantize_rows(shape.m, shape.k, a.data(), quantized_a.data(), scale_a.data());
    kernels::quantize_rows(shape.n, shape.k, b.data(), quantized_b.data(), scale_b.data());
  }

  Buffer<float> a, b, c, peer_c;
  Buffer<std::int8_t> quantized_a, quantized_b;
  Buffer<float> scale_a, scale_b;
};

void multiply(const GemmShape& s, const std::string& type, Operands& x) {
  if (type == "int8") {
    kernels::gemm_int8(s.m, s.n, s.k, x.quantized_a.data(), s.k, x.scale_a.data(),
                       x.quantized_b.data(), s.k, x.scale_b.data(), x.c.data(), s.n);
    return;
  }
  kernels::gemm(kernels::Trans::no, kernels::Trans::yes, s.m, s.n, s.k, 1.0f, x.a.data(), s.k,
                x.b.data(), s.k, 0.0f, x.c.data(), s.n,
                type == "bf16" ? kernels::Precision::bf16 : kernels::Precision::fp32);
}

void multiply_by_openblas(const GemmShape& s, Operands& x) {
  const auto m = static_cast<int>(s.m), n = static_cast<int>(s.n), k = static_cast<int>(s.k);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, x.a.data(), k, x.b.data(), k,
              0.0f, x.peer_c.data(), n);
}

// The rounding of operands in [-1, 1] to `unit` relative, in a sum of k products: its standard
// deviation is about unit·sqrt(k)/3; eight of them hold for millions of elements.
void check_result(const GemmShape& shape, const std::string& type, const Operands& x) {
  const double unit = type == "fp32" ? 0x1p-20 : type == "bf16" ? 0x1p-8 : 1.0 / 127;
  const double allowed = 8 * unit * std::sqrt(static_cast<double>(shape.k)) / 3 + 1e-6;
  for (Index i = 0; i < x.c.size(); ++i) {
    const double difference = std::abs(double{x.c[i]} - double{x.peer_c[i]});
    if (!(difference <= allowed)) {
      throw Error("bench gemm",
                  fmt::format("{} product {}x{}x{}: element {} is {}, OpenBLAS in fp32 says {}",
                              type, shape.m, shape.n, shape.k, i, x.c[i], x.peer_c[i]),
                  "report this");
    }
  }
}

double peak_of(const std::string& type) {
  if (type == "fp32") {
    return std::max({fma_gflops(), large_sgemm_gflops(), large_gemm_gflops(type)});
  }
  return large_gemm_gflops(type);
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

void gemm(const Communicator& world, const GemmOptions& options) {
  if (world.size() != 1) {
    throw UsageError("bench gemm", std::to_string(world.size()) + " ranks are running",
                     "run it in one process: shoal bench gemm");
  }
  for (const std::string& type : options.types) {
    if (type != "fp32" && type != "bf16" && type != "int8") {
      throw UsageError("bench gemm", "\"" + type + "\" is not one of fp32, bf16, int8");
    }
  }
  Report report(world, options.json);
  const int threads = omp_get_max_threads();
  for (const std::string& type : options.types) {
    const double peak = peak_of(type);
    fmt::print("{} on {} thread{}: {}\n", type, threads, threads == 1 ? "" : "s",
               type == "int8"   ? kernels::gemm_backend_int8()
               : type == "bf16" ? kernels::gemm_backend(kernels::Precision::bf16)
                                : kernels::gemm_backend(kernels::Precision::fp32));
    fmt::print("{:>17} {:>10} {:>9} {:>10} {:>9} {:>6} {:>9}\n", "m x n x k", "median us",
               "GFLOP/s", "OpenBLAS", "GFLOP/s", "ratio", "of peak");
    for (const GemmShape& shape : options.shapes.empty() ? default_shapes : options.shapes) {
      Operands operands(shape, type);
      const std::function<void()> calls[] = {[&] { multiply(shape, type, operands); },
                                             [&] { multiply_by_openblas(shape, operands); }};
      const auto medians = interleaved_medians(world, calls, options.seconds_per_shape);
      check_result(shape, type, operands);
      const double operations = 2.0 * static_cast<double>(shape.m) *
                                static_cast<double>(shape.n) * static_cast<double>(shape.k);
      const double rate = operations / medians[0] * 1e-9;
      const double peer_rate = operations / medians[1] * 1e-9;
      const std::string name = fmt::format("{}x{}x{}", shape.m, shape.n, shape.k);
      fmt::print("{:>17} {:>10.1f} {:>9.1f} {:>10.1f} {:>9.1f} {:>6.2f} {:>8.0f}%\n", name,
                 medians[0] * 1e6, rate, medians[1] * 1e6, peer_rate, medians[1] / medians[0],
                 100 * rate / peak);
      std::fflush(stdout);
      Row row;
      row.op = "gemm";
      row.shape = name;
      row.algorithm = "shoal " + type;
      row.median_us = medians[0] * 1e6;
      row.peer = "OpenBLAS sgemm";
      row.peer_us = medians[1] * 1e6;
      row.bound_us = operations / peak * 1e-3;
      row.more = {{"gflops", rate},
                  {"peer_gflops", peer_rate},
                  {"peak_gflops", peak},
                  {"threads", static_cast<double>(threads)}};
      row.notes = {{"dtype", type}};
      report.add(std::move(row));
    }
    fmt::print("Peak {:.0f} GFLOP/s: the best here of a {}1536-cube product.\n"
               "OpenBLAS is sgemm (fp32) called directly, in turns with ours.\n\n",
               peak, type == "fp32" ? "loop of fused multiply-adds and a " : "");
  }
  report.write();
}

}  // namespace shoal::bench
