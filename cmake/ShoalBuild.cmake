# How every target of this project is compiled, and where it lands.
include_guard()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

find_program(SHOAL_CCACHE ccache)
if(SHOAL_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SHOAL_CCACHE})
endif()

add_library(shoal_compile_options INTERFACE)
target_compile_options(shoal_compile_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow "$<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor;-Woverloaded-virtual>"
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # GCC 12 warns of its own std::string (bug 105329)
  $<$<BOOL:${SHOAL_WARNINGS_AS_ERRORS}>:-Werror>)

# shoal_compile_by_folder(<target>): with SHOAL_UNITY_BUILD the sources of one folder are compiled as
# one, since most of the time to build Shoal goes into reading headers again and again. Names at file
# level must so be unique within a folder, also in unnamed namespaces.
function(shoal_compile_by_folder target)
  set_target_properties(${target} PROPERTIES
    UNITY_BUILD ${SHOAL_UNITY_BUILD} UNITY_BUILD_MODE GROUP)
  if(SHOAL_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)  # takes a source for a header
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    get_filename_component(folder ${source} DIRECTORY)
    string(REPLACE "/" "_" folder "in_${folder}")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${folder})
  endforeach()
endfunction()

# shoal_add_library(<folder name> <sources...>): the library target of one folder, as
# shoal::<folder name>, with its public headers under <folder>/include.
function(shoal_add_library name)
  add_library(shoal_${name} ${ARGN})
  shoal_compile_by_folder(shoal_${name})
  add_library(shoal::${name} ALIAS shoal_${name})
  target_include_directories(shoal_${name}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_features(shoal_${name} PUBLIC cxx_std_20)
  target_link_libraries(shoal_${name} PRIVATE $<BUILD_INTERFACE:shoal_compile_options>)
  set_target_properties(shoal_${name} PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
    EXPORT_NAME ${name})
endfunction()
