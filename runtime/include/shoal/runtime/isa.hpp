// Which instruction set the kernels use, decided once at run time.
#pragma once

#include <string>
#include <string_view>

namespace shoal {

/// Variants that the vectorised kernels are compiled for, weakest first.
enum class Isa { baseline, avx2, avx512 };

/// The strongest variant that this processor and this build have. The environment variable SHOAL_ISA
/// (baseline, avx2, avx512) lowers it; a name that is unknown or too strong throws UsageError.
Isa selected_isa();

/// "baseline", "avx2", "avx512".
std::string_view name_of(Isa isa) noexcept;

/// What the processor offers for matrices, for reports: "avx2 avx512f avx512_bf16 amx_bf16 ...".
std::string processor_features();

/// True where the processor (and the system) let programs multiply bf16 matrices in hardware:
/// AMX tiles, or AVX-512's dot product.
bool has_amx_bf16() noexcept;
bool has_avx512_bf16() noexcept;
/// The same for dot products of bytes.
bool has_avx512_vnni() noexcept;

}  // namespace shoal
