# SHOAL_SANITIZE=address,undefined or thread: what is compiled with it, and what the tests then run with.
include_guard()

# The time limits of tests are multiplied by this: what is watched is slow.
set(SHOAL_TEST_PATIENCE 1)
if(NOT SHOAL_SANITIZE)
  return()
endif()

# -O1 -g1: half the time to build, stacks with files and lines all the same.
target_compile_options(shoal_compile_options INTERFACE -O1 -g1
  -fsanitize=${SHOAL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
target_link_options(shoal_compile_options INTERFACE -fsanitize=${SHOAL_SANITIZE})

if(SHOAL_SANITIZE MATCHES "address|thread")
  # In executables: only there it comes before the sanitizer's own dlclose.
  target_sources(shoal_compile_options INTERFACE
    $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:${CMAKE_CURRENT_LIST_DIR}/sanitizers/keep_modules.cpp>)
endif()

set(_shoal_supp ${CMAKE_CURRENT_LIST_DIR}/sanitizers)
set(_shoal_environment "")
# What the caller has set comes last and so counts.
function(_shoal_sanitizer_options name)
  list(JOIN ARGN : options)
  string(APPEND _shoal_environment "set(ENV{${name}} \"${options}:\$ENV{${name}}\")\n")
  set(_shoal_environment "${_shoal_environment}" PARENT_SCOPE)
endfunction()

if(SHOAL_SANITIZE MATCHES thread)
  # GCC warns that the sanitizer does not know fences: see the flight recorder in tsan.supp.
  target_compile_options(shoal_compile_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
  set(SHOAL_TEST_PATIENCE 8)
  _shoal_sanitizer_options(TSAN_OPTIONS suppressions=${_shoal_supp}/tsan.supp history_size=4)
  # libgomp's barriers are no barriers to the thread sanitizer: see tsan.supp.
  string(APPEND _shoal_environment "set(ENV{OMP_NUM_THREADS} 1)\n")
else()
  set(SHOAL_TEST_PATIENCE 4)
  # Tests ask for more memory than there is, and expect an Error.
  _shoal_sanitizer_options(ASAN_OPTIONS allocator_may_return_null=1)
  _shoal_sanitizer_options(LSAN_OPTIONS suppressions=${_shoal_supp}/lsan.supp print_suppressions=0)
  _shoal_sanitizer_options(UBSAN_OPTIONS print_stacktrace=1)
endif()

# ctest reads this file before it runs the tests, which inherit its environment.
file(WRITE ${CMAKE_BINARY_DIR}/sanitizer_environment.cmake "${_shoal_environment}")
set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY
  TEST_INCLUDE_FILES ${CMAKE_BINARY_DIR}/sanitizer_environment.cmake)
