# One source, compiled once for each instruction set, chosen at run time.
#
# shoal_target_simd_sources(<target> <file.simd.cpp>...) compiles each file once a variant with
# SHOAL_SIMD_VARIANT defined as `baseline`, `avx2` or `avx512`. The file puts its functions in
# `namespace SHOAL_SIMD_VARIANT` and includes nothing but <cstddef>, <cstdint>, <immintrin.h> and
# headers of plain structs: an inline function of the standard library compiled here for AVX-512
# could be the copy the linker keeps for everyone.
include_guard()
include(CheckCXXCompilerFlag)

set(SHOAL_SIMD_VARIANTS baseline)
set(SHOAL_SIMD_FLAGS_baseline "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  check_cxx_compiler_flag(-mavx512f SHOAL_COMPILER_HAS_AVX512)
  list(APPEND SHOAL_SIMD_VARIANTS avx2)
  set(SHOAL_SIMD_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi -mbmi2 -mlzcnt)
  if(SHOAL_COMPILER_HAS_AVX512)
    list(APPEND SHOAL_SIMD_VARIANTS avx512)
    set(SHOAL_SIMD_FLAGS_avx512 ${SHOAL_SIMD_FLAGS_avx2}
      -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
    foreach(extension bf16 vnni)
      string(TOUPPER ${extension} upper)
      check_cxx_compiler_flag(-mavx512${extension} SHOAL_COMPILER_HAS_AVX512_${upper})
      set(SHOAL_SIMD_FLAGS_avx512_${extension} ${SHOAL_SIMD_FLAGS_avx512} -mavx512${extension})
    endforeach()
  endif()
endif()

# One source as one variant; what follows are other variants whose SHOAL_SIMD_VARIANT_ is defined, too.
function(_shoal_simd_source target source variant)
  get_filename_component(absolute ${source} ABSOLUTE)
  get_filename_component(stem ${source} NAME_WE)
  set(generated ${CMAKE_CURRENT_BINARY_DIR}/simd/${stem}.${variant}.cpp)
  set(content "#define SHOAL_SIMD_VARIANT ${variant}\n")
  foreach(name IN LISTS variant ARGN)
    string(APPEND content "#define SHOAL_SIMD_VARIANT_${name} 1\n")
  endforeach()
  file(CONFIGURE OUTPUT ${generated} @ONLY CONTENT "${content}#include \"${absolute}\"\n")
  # -O3 in every build type but Debug; errno and traps are not looked at, NaN and infinity are.
  set_source_files_properties(${generated} PROPERTIES
    OBJECT_DEPENDS ${absolute}
    COMPILE_OPTIONS "${SHOAL_SIMD_FLAGS_${variant}};$<$<NOT:$<CONFIG:Debug>>:-O3>;-fopenmp-simd;-fno-math-errno;-fno-trapping-math;-Wno-psabi")
  target_sources(${target} PRIVATE ${generated})
endfunction()

# shoal_target_avx512_sources(<target> <extension> <file.simd.cpp>...) compiles each file once, in namespace
# avx512_<extension>, for processors whose AVX-512 has the extension, and defines
# SHOAL_SIMD_HAS_AVX512_<EXTENSION>; nothing where the compiler cannot. Extensions: bf16 multiplies bf16,
# vnni bytes. Such a file may also include what the variant avx512 may.
function(shoal_target_avx512_sources target extension)
  string(TOUPPER ${extension} upper)
  if(NOT SHOAL_COMPILER_HAS_AVX512_${upper})
    return()
  endif()
  foreach(source IN LISTS ARGN)
    _shoal_simd_source(${target} ${source} avx512_${extension} avx512)
  endforeach()
  target_compile_definitions(${target} PRIVATE SHOAL_SIMD_HAS_AVX512_${upper}=1)
endfunction()

function(shoal_target_simd_sources target)
  foreach(source IN LISTS ARGN)
    foreach(variant IN LISTS SHOAL_SIMD_VARIANTS)
      _shoal_simd_source(${target} ${source} ${variant})
    endforeach()
  endforeach()
  foreach(variant IN LISTS SHOAL_SIMD_VARIANTS)
    string(TOUPPER ${variant} upper)
    target_compile_definitions(${target} PRIVATE SHOAL_SIMD_HAS_${upper}=1)
  endforeach()
endfunction()
