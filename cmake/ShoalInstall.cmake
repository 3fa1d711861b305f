# `cmake --install`: headers under one root, libraries with their SONAMEs, the package for find_package(shoal),
# pkg-config files, the executable; and the .deb that cpack makes of it.
include_guard()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

if(NOT BUILD_SHARED_LIBS)
  message(STATUS "Install: only shared libraries are installed, BUILD_SHARED_LIBS is off")
  return()
endif()

# All of it: shoal::shoal. (`shoal` is the executable.)
add_library(shoal_all INTERFACE)
add_library(shoal::shoal ALIAS shoal_all)
target_link_libraries(shoal_all INTERFACE shoal::kernels shoal::collectives shoal::runtime)
set_target_properties(shoal_all PROPERTIES EXPORT_NAME shoal)
set_target_properties(shoal_c PROPERTIES EXPORT_NAME c)

set(libraries shoal_runtime shoal_collectives shoal_kernels_local shoal_kernels shoal_models shoal_planning shoal_c)
set(preload shoal_pmpi shoal_pmpi_alloc)
set_target_properties(${libraries} ${preload} PROPERTIES INSTALL_RPATH "$ORIGIN")
file(RELATIVE_PATH to_libraries ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(shoal PROPERTIES INSTALL_RPATH "$ORIGIN/${to_libraries}")

install(TARGETS ${libraries} shoal_all EXPORT shoalTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ${preload} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS shoal RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(folder runtime collectives kernels/local kernels/parallel models planning bindings/c)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
endforeach()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/bindings/python/shoal
  DESTINATION lib/python3/dist-packages FILES_MATCHING PATTERN "*.py")
if(TARGET shoal_torch)
  file(RELATIVE_PATH to_libraries ${CMAKE_INSTALL_PREFIX}/lib/python3/dist-packages/shoal_torch
    ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(shoal_torch PROPERTIES INSTALL_RPATH "$ORIGIN/${to_libraries}")
  install(TARGETS shoal_torch LIBRARY DESTINATION lib/python3/dist-packages/shoal_torch COMPONENT torch)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/bindings/torch/shoal_torch/ COMPONENT torch
    DESTINATION lib/python3/dist-packages/shoal_torch FILES_MATCHING PATTERN "*.py")
endif()

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/shoal)
install(EXPORT shoalTargets NAMESPACE shoal:: DESTINATION ${package_folder})
# While it is 0.x a minor release may change anything.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/shoalConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/shoalConfig.cmake ${CMAKE_BINARY_DIR}/shoalConfigVersion.cmake
  DESTINATION ${package_folder})

file(RELATIVE_PATH to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(name shoal shoal_c)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in ${CMAKE_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME shoal)
set(CPACK_PACKAGE_CONTACT "The Shoal maintainers <maintainers@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
# The libraries it needs are found in what was built; of OpenBLAS any build would do for the loader, the one
# with OpenMP shares its threads with Shoal's kernels.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "openmpi-bin, libopenblas0-openmp")
set(CPACK_DEBIAN_UNSPECIFIED_PACKAGE_NAME shoal)
set(CPACK_DEBIAN_UNSPECIFIED_PACKAGE_RECOMMENDS "python3-numpy")  # for `import shoal`
set(CPACK_DEBIAN_UNSPECIFIED_PACKAGE_SUGGESTS "g++, cmake, pkg-config, python3-shoal-torch")
# PyTorch's backend is a package of its own: who only computes in C++ is spared PyTorch.
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL Unspecified)
if(TARGET shoal_torch)
  list(APPEND CPACK_COMPONENTS_ALL torch)
  set(CPACK_DEBIAN_TORCH_PACKAGE_NAME python3-shoal-torch)
  set(CPACK_DEBIAN_TORCH_DESCRIPTION "Shoal as a backend of torch.distributed")
  set(CPACK_DEBIAN_TORCH_PACKAGE_SECTION python)
  set(CPACK_DEBIAN_TORCH_PACKAGE_DEPENDS "shoal (= ${PROJECT_VERSION}), python3-torch")
endif()
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
include(CPack)
