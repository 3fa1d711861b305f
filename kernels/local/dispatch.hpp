// Choice of the compiled variant of a table of kernels. Files that use SHOAL_SELECT_KERNELS include
// <shoal/runtime/isa.hpp> themselves: the vectorised sources must not see the headers behind it.
#pragma once

// Declares the table `name` of type `type` once for each variant that may have been compiled.
#define SHOAL_DECLARE_KERNELS(type, name) \
  namespace baseline {                    \
  extern const type name;                 \
  }                                       \
  namespace avx2 {                        \
  extern const type name;                 \
  }                                       \
  namespace avx512 {                      \
  extern const type name;                 \
  }

#if defined(SHOAL_SIMD_HAS_AVX512)
#define SHOAL_AVX512_OR(name, other) (selected_isa() == Isa::avx512 ? avx512::name : (other))
#else
#define SHOAL_AVX512_OR(name, other) (other)
#endif
#if defined(SHOAL_SIMD_HAS_AVX2)
#define SHOAL_AVX2_OR(name, other) (selected_isa() >= Isa::avx2 ? avx2::name : (other))
#else
#define SHOAL_AVX2_OR(name, other) (other)
#endif

// The table that selected_isa() asks for.
#define SHOAL_SELECT_KERNELS(name) SHOAL_AVX512_OR(name, SHOAL_AVX2_OR(name, baseline::name))
