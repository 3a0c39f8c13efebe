# fastprop_flags: language, optimization, warnings, sanitizers and OpenMP of every target of ours.
# No fast-math anywhere, and no contraction of a*b+c behind the source's back: an FMA is written as
# one, so a result does not depend on what the compiler finds profitable.

set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
# No link-time optimization: every hot loop already sees all of its code in one translation unit.
set(CMAKE_INTERPROCEDURAL_OPTIMIZATION OFF)

add_library(fastprop_flags INTERFACE)
target_compile_features(fastprop_flags INTERFACE cxx_std_17)
target_compile_definitions(fastprop_flags INTERFACE FASTPROP_VERSION="${PROJECT_VERSION}")

if(MSVC)
    target_compile_options(fastprop_flags INTERFACE
        $<$<COMPILE_LANGUAGE:CXX>:/W4 /fp:precise /utf-8 /EHsc /bigobj /Zc:__cplusplus>)
    target_compile_definitions(fastprop_flags INTERFACE NOMINMAX _USE_MATH_DEFINES)
else()
    target_compile_options(fastprop_flags INTERFACE
        "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow>"
        "$<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off;-fno-math-errno;-fno-trapping-math>")
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # Said of every template over an Eigen packet type, and harmless there.
        target_compile_options(fastprop_flags INTERFACE
            $<$<COMPILE_LANGUAGE:CXX>:-Wno-ignored-attributes>)
    endif()
endif()

foreach(sanitizer IN LISTS FASTPROP_SANITIZE)
    target_compile_options(fastprop_flags INTERFACE
        $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${sanitizer}> -fno-omit-frame-pointer)
    target_link_options(fastprop_flags INTERFACE -fsanitize=${sanitizer})
endforeach()

# ThreadSanitizer does not understand libgomp's own fork and join; that build uses the team's
# std::thread implementation, which it does understand.
find_package(Threads REQUIRED)
target_link_libraries(fastprop_flags INTERFACE Threads::Threads)
if(NOT "thread" IN_LIST FASTPROP_SANITIZE)
    find_package(OpenMP COMPONENTS CXX)
    if(OpenMP_CXX_FOUND)
        target_link_libraries(fastprop_flags INTERFACE OpenMP::OpenMP_CXX)
    else()
        message(WARNING "fastprop: no OpenMP found; teams of threads are started per run instead")
    endif()
endif()
