# One interface target that every part of Firn links: warnings, instruction set, sanitizers.
add_library(firn_options INTERFACE)
target_include_directories(firn_options INTERFACE ${CMAKE_SOURCE_DIR})
target_link_libraries(firn_options INTERFACE fmt::fmt)
# Option structs are written with designated initialisers that name only what differs from the default.
# Signed zeros, NaN and infinity keep their meaning (losses are checked for them); errno and trap flags do not.
target_compile_options(firn_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-missing-field-initializers;-fno-math-errno;-fno-trapping-math>)
if(FIRN_WERROR)
  target_compile_options(firn_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(FIRN_NATIVE)
  target_compile_options(firn_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native;-mprefer-vector-width=512>)
endif()
if(FIRN_SANITIZE)
  # Without those checks of UndefinedBehaviorSanitizer that take long to compile for what AddressSanitizer or a segmentation
  # fault says as well.
  set(left_out null,object-size,vptr,nonnull-attribute,returns-nonnull-attribute)
  set(sanitizers -fsanitize=address,undefined -fno-sanitize=${left_out} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(firn_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${sanitizers}>")
  target_link_options(firn_options INTERFACE -fsanitize=address,undefined)
endif()
