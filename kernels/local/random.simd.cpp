// Compiled without fused multiply-add, so that every instruction set draws the same numbers.
#include "philox.hpp"
#include "random_kernels.hpp"
#include "simd_math.hpp"

namespace shoal::kernels::SHOAL_SIMD_VARIANT {
namespace {

using Words = std::uint32_t[4][group_lanes];

void uniform(const PhiloxStream& stream, std::uint64_t first, Index n, float* out) {
  for_each_group<float>(
      first, n,
      [&](std::uint64_t counter, float* values) {
        alignas(64) Words words;
        philox_group(stream, counter, words);
        for (int w = 0; w < 4; ++w) {
#pragma omp simd
          for (Index lane = 0; lane < group_lanes; ++lane) {
            values[w * group_lanes + lane] =
                static_cast<float>(static_cast<std::int32_t>(words[w][lane] >> 8)) * 0x1p-24f;
          }
        }
      },
      [&](const float* values, Index count, Index offset) {
        for (Index i = 0; i < count; ++i) out[offset + i] = values[i];
      });
}

// Two normals from two words: a radius and an angle.
inline void box_muller(const std::uint32_t* radius_words, const std::uint32_t* angle_words,
                       float* cosines, float* sines) {
#pragma omp simd
  for (Index lane = 0; lane < group_lanes; ++lane) {
    const float u =
        (static_cast<float>(static_cast<std::int32_t>(radius_words[lane] >> 1)) + 0.5f) * 0x1p-31f;
    const float square = -2.0f * log_of(u);
    const float radius = __builtin_sqrtf(square > 0.0f ? square : 0.0f);
    // The word is the angle in units of 2^-32 of a turn: nearest quarter, and what is left of it.
    const std::uint32_t angle = angle_words[lane];
    const std::uint32_t quarter = (angle + 0x20000000u) >> 30;
    const float a = static_cast<float>(static_cast<std::int32_t>(angle - (quarter << 30))) *
                    (1.57079632679489662f * 0x1p-30f);
    const float z = a * a;
    float s = -1.9515295891e-4f;
    s = s * z + 8.3321608736e-3f;
    s = s * z - 1.6666654611e-1f;
    s = s * z * a + a;
    float c = 2.443315711809948e-5f;
    c = c * z - 1.388731625493765e-3f;
    c = c * z + 4.166664568298827e-2f;
    c = c * z * z - 0.5f * z + 1.0f;
    const bool swap = (quarter & 1u) != 0;
    const std::uint32_t sine_sign = (quarter & 2u) << 30;
    const std::uint32_t cosine_sign = ((quarter + 1u) & 2u) << 30;
    const float sine = as_float(as_bits(swap ? c : s) ^ sine_sign);
    const float cosine = as_float(as_bits(swap ? s : c) ^ cosine_sign);
    cosines[lane] = radius * cosine;
    sines[lane] = radius * sine;
  }
}

void normal(const PhiloxStream& stream, std::uint64_t first, Index n, float mean, float stddev,
            float* out) {
  for_each_group<float>(
      first, n,
      [&](std::uint64_t counter, float* values) {
        alignas(64) Words words;
        philox_group(stream, counter, words);
        box_muller(words[0], words[1], values, values + group_lanes);
        box_muller(words[2], words[3], values + 2 * group_lanes, values + 3 * group_lanes);
      },
      [&](const float* values, Index count, Index offset) {
#pragma omp simd
        for (Index i = 0; i < count; ++i) out[offset + i] = values[i] * stddev + mean;
      });
}

std::uint64_t word_pair(const PhiloxStream& stream, std::uint64_t counter) {
  alignas(64) Words words;
  philox_group(stream, counter, words);
  return std::uint64_t{words[1][0]} << 32 | words[0][0];
}

}  // namespace

extern const RandomKernels random_kernels = {uniform, normal, dropout_range, word_pair};

}  // namespace shoal::kernels::SHOAL_SIMD_VARIANT
