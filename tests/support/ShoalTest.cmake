# How tests are declared. Executables land in bin/tests of the build folder.
include_guard()

# shoal_time_limit(<variable> <seconds>): a test's time limit; more where sanitizers slow it down.
function(shoal_time_limit variable seconds)
  math(EXPR limit "${seconds} * ${SHOAL_TEST_PATIENCE}")
  set(${variable} ${limit} PARENT_SCOPE)
endfunction()

# One executable, not yet a test. `main` is the library that brings main().
function(_shoal_test_executable name main)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "SOURCES;LIBRARIES")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${main} ${arg_LIBRARIES} shoal_compile_options)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/tests)
endfunction()

# shoal_add_mpi_test(<name> SOURCES <file>... [LIBRARIES <target>...] RANKS <n>...
#                    [TIMEOUT <seconds>] [LABELS <label>...] [ENVIRONMENT <NAME=value>...])
#
# One executable, and a test <name>.n<ranks> under mpirun for each rank count. main() makes the
# Runtime; see <support/world.hpp> and <support/random.hpp>. After TIMEOUT seconds (60) all ranks
# are ended; a wait inside Shoal fails after SHOAL_TIMEOUT, half of that and at most 30 s, so that
# the report says who waited for whom.
function(shoal_add_mpi_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LIBRARIES;RANKS;LABELS;ENVIRONMENT")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  shoal_time_limit(arg_TIMEOUT ${arg_TIMEOUT})
  _shoal_test_executable(${name} shoal_test_main SOURCES ${arg_SOURCES} LIBRARIES ${arg_LIBRARIES})
  math(EXPR patience "${arg_TIMEOUT} / 2")
  shoal_time_limit(most 30)
  if(patience GREATER most)
    set(patience ${most})
  endif()
  math(EXPR backstop "${arg_TIMEOUT} + 10")
  foreach(ranks IN LISTS arg_RANKS)
    set(test ${name}.n${ranks})
    add_test(NAME ${test}
      COMMAND ${PROJECT_SOURCE_DIR}/launch/mpirun -n ${ranks} --bind-to none
              --timeout ${arg_TIMEOUT} $<TARGET_FILE:${name}>)
    # What somebody has tuned this machine to is not what is tested.
    set(environment GTEST_COLOR=no SHOAL_TIMEOUT=${patience} SHOAL_TUNING=off)
    set(processors ${ranks})
    if(ranks GREATER 1)
      list(APPEND environment OMP_NUM_THREADS=1)
      set(processors 2)
    endif()
    set_tests_properties(${test} PROPERTIES
      TIMEOUT ${backstop} PROCESSORS ${processors}
      ENVIRONMENT "${environment};${arg_ENVIRONMENT}" LABELS "${arg_LABELS}")
  endforeach()
endfunction()

# shoal_add_test(<name> SOURCES <file>... [LIBRARIES <target>...] [TIMEOUT <seconds>]
#                [LABELS <label>...] [ENVIRONMENT <NAME=value>...])
#
# One executable and one test of the same name: a single process without mpirun and without a
# Runtime, for what does not need one or makes its own.
function(shoal_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "SOURCES;LIBRARIES;LABELS;ENVIRONMENT")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  shoal_time_limit(arg_TIMEOUT ${arg_TIMEOUT})
  shoal_time_limit(patience 30)
  _shoal_test_executable(${name} shoal_test_main_serial
    SOURCES ${arg_SOURCES} LIBRARIES ${arg_LIBRARIES})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${arg_TIMEOUT}
    ENVIRONMENT "GTEST_COLOR=no;SHOAL_TIMEOUT=${patience};SHOAL_TUNING=off;${arg_ENVIRONMENT}" LABELS "${arg_LABELS}")
endfunction()
