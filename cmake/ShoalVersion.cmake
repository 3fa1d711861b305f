# The git revision and build type, for reports: a header made anew at each build, touched only when
# its text changes.
include_guard()

set(SHOAL_VERSION_HEADER_DIR ${CMAKE_BINARY_DIR}/generated)
add_custom_target(shoal_version
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR}
          -DOUTPUT=${SHOAL_VERSION_HEADER_DIR}/shoal_version.h
          -DVERSION=${PROJECT_VERSION} -DBUILD_TYPE=${CMAKE_BUILD_TYPE}
          -P ${CMAKE_CURRENT_LIST_DIR}/WriteVersionHeader.cmake
  BYPRODUCTS ${SHOAL_VERSION_HEADER_DIR}/shoal_version.h
  VERBATIM)
