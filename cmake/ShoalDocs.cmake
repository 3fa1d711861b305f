# The target `docs`: the site in build/docs. The guide (docs/*.md) by MkDocs, the reference of the public
# headers by Doxygen; a warning of either, or a link that leads nowhere, fails it. Nothing else needs these
# tools, so that without them only this target is missing. `launch/docs` installs them.
include_guard()

find_program(SHOAL_DOXYGEN doxygen)
find_program(SHOAL_MKDOCS mkdocs PATHS /usr/bin NO_DEFAULT_PATH)
find_program(SHOAL_DOCS_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_path(SHOAL_MKDOCS_THEME main.html PATHS /usr/share/mkdocs/themes/material NO_DEFAULT_PATH)
find_file(SHOAL_DOCS_STYLE doxygen-awesome.css PATHS /usr/share/doxygen-awesome-css NO_DEFAULT_PATH)
if(NOT SHOAL_DOXYGEN OR NOT SHOAL_MKDOCS OR NOT SHOAL_MKDOCS_THEME OR NOT SHOAL_DOCS_STYLE OR
   NOT SHOAL_DOCS_PYTHON)
  message(STATUS "Documentation: not built (wants doxygen, doxygen-awesome-css, mkdocs, mkdocs-material); "
                 "launch/docs installs these")
  return()
endif()

set(SHOAL_DOCS_FOLDER ${PROJECT_SOURCE_DIR}/build/docs)
set(folders runtime/include collectives/include kernels/local/include kernels/parallel/include
  models/include planning/include bindings/c/include)
list(TRANSFORM folders PREPEND ${PROJECT_SOURCE_DIR}/)
set(packages ${PROJECT_SOURCE_DIR}/bindings/python ${PROJECT_SOURCE_DIR}/bindings/torch)
set(SHOAL_DOCS_INPUT ${PROJECT_SOURCE_DIR}/cmake/docs/reference.md ${folders})
set(SHOAL_DOCS_PYTHON_INPUT ${PROJECT_SOURCE_DIR}/cmake/docs/python.md
  ${PROJECT_SOURCE_DIR}/bindings/python/shoal ${PROJECT_SOURCE_DIR}/bindings/torch/shoal_torch)
set(SHOAL_DOCS_STRIP ${folders} ${packages})
# Values of a Doxyfile stand in quotes, one after the other.
foreach(variable SHOAL_DOCS_INPUT SHOAL_DOCS_PYTHON_INPUT SHOAL_DOCS_STRIP)
  list(TRANSFORM ${variable} REPLACE "(.+)" "\"\\1\"")
  list(JOIN ${variable} " " ${variable})
endforeach()
foreach(file Doxyfile PythonDoxyfile)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/docs/${file}.in ${CMAKE_BINARY_DIR}/docs/${file} @ONLY)
endforeach()

add_custom_target(docs
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${SHOAL_DOCS_FOLDER}
  COMMAND ${SHOAL_MKDOCS} build --quiet --strict --config-file ${PROJECT_SOURCE_DIR}/mkdocs.yml
          --site-dir ${SHOAL_DOCS_FOLDER}
  COMMAND ${SHOAL_DOXYGEN} Doxyfile
  COMMAND ${SHOAL_DOXYGEN} PythonDoxyfile
  COMMAND ${SHOAL_DOCS_PYTHON} ${PROJECT_SOURCE_DIR}/cmake/docs/check_links.py ${SHOAL_DOCS_FOLDER}
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/docs
  COMMENT "The site: build/docs/index.html" VERBATIM)
