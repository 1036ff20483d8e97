# What bench/bundle packs: the programs, all the libraries they need but glibc and CUDA's own, and what measures them.
# Not of a build with MPI, which would need the launcher of the machine that it goes to.
if(FIRN_MPI)
  install(CODE "message(FATAL_ERROR \"a bundle is made of a build without FIRN_MPI\")" COMPONENT bundle)
endif()
set(bundled gan-train gan-sample gan-data gan-check gan-report gan-metrics gan-convert gan-export gan-project train_bench op_bench ceilings firn_tests)
set(programs "")
foreach(program ${bundled})
  if(TARGET ${program})
    list(APPEND programs ${program})
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
    target_link_options(${program} PRIVATE -Wl,--disable-new-dtags)  # the path is for what the libraries need, too
  endif()
endforeach()
add_custom_target(bundled DEPENDS ${programs})
install(TARGETS ${programs} RUNTIME_DEPENDENCY_SET libraries RUNTIME DESTINATION bin COMPONENT bundle)
if(TARGET gan-metrics)  # metrics/numbers/blas.cpp loads it by the short name, and finds it by the programs' path
  set(short libopenblas.so.0)
  find_library(openblas_library NAMES ${short} REQUIRED)
  file(REAL_PATH ${openblas_library} file)  # behind Debian's alternatives
  get_filename_component(name ${file} NAME)
  add_library(openblas_loaded SHARED IMPORTED)
  set_target_properties(openblas_loaded PROPERTIES IMPORTED_LOCATION ${file})
  install(IMPORTED_RUNTIME_ARTIFACTS openblas_loaded RUNTIME_DEPENDENCY_SET libraries LIBRARY DESTINATION lib
          COMPONENT bundle)
  install(CODE "file(CREATE_LINK ${name} \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/${short} SYMBOLIC)"
          COMPONENT bundle)
endif()
install(RUNTIME_DEPENDENCY_SET libraries COMPONENT bundle DESTINATION lib PRE_EXCLUDE_REGEXES
        "^lib(cud|cublas|nvrtc|nvJitLink)" "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv)\\.so")
if(TARGET firn_no_driver)
  install(TARGETS firn_no_driver LIBRARY DESTINATION bin COMPONENT bundle)  # found beside the programs
endif()
file(GLOB scripts CONFIGURE_DEPENDS bench/*.py)
install(PROGRAMS bench/gpu.sh bench/libraries ${scripts} DESTINATION bench COMPONENT bundle)
