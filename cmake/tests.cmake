# fastprop_tests_<level>: all of tests/cpp against one level, for every level that this machine runs.

find_package(GTest QUIET)
if(NOT GTest_FOUND)
    set(FASTPROP_GTEST_SOURCE /usr/src/googletest CACHE PATH "Sources of GoogleTest")
    if(NOT EXISTS "${FASTPROP_GTEST_SOURCE}/CMakeLists.txt")
        message(FATAL_ERROR "fastprop: GoogleTest was not found (Debian, Ubuntu: libgtest-dev)")
    endif()
    set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
    set(BUILD_GMOCK OFF CACHE BOOL "" FORCE)
    add_subdirectory("${FASTPROP_GTEST_SOURCE}" "${CMAKE_CURRENT_BINARY_DIR}/googletest" EXCLUDE_FROM_ALL)
    add_library(GTest::gtest_main ALIAS gtest_main)
endif()

file(GLOB test_sources CONFIGURE_DEPENDS tests/cpp/*.cpp)
foreach(level IN LISTS FASTPROP_HOST_LEVELS)
    add_executable(fastprop_tests_${level} ${test_sources})
    target_include_directories(fastprop_tests_${level} PRIVATE tests/cpp)
    target_link_libraries(fastprop_tests_${level} PRIVATE fastprop_${level} GTest::gtest_main)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        # GoogleTest's own macros, as its documentation uses them.
        target_compile_options(fastprop_tests_${level} PRIVATE -Wno-gnu-zero-variadic-macro-arguments)
    endif()
    add_test(NAME cpp_${level} COMMAND fastprop_tests_${level})
endforeach()

# Programs of the tests' sources that are no unit tests, for each level:
#   fastprop_ulp_<level>            errors over all floats, which takes too long for a test
#   fastprop_instructions_<level>   pieces of work for tests/instruction_counts.py
#   fastprop_op_bits_<level>        hashes of every op's results
function(fastprop_add_tool name library)
    add_executable(${name} ${ARGN})
    target_include_directories(${name} PRIVATE tests/cpp benchmarks/cpp)
    target_link_libraries(${name} PRIVATE ${library} GTest::gtest)
endfunction()

foreach(level IN LISTS FASTPROP_HOST_LEVELS)
    fastprop_add_tool(fastprop_ulp_${level} fastprop_${level}
        tests/cpp/tools/ulp.cpp tests/cpp/accuracy.cpp tests/cpp/accuracy_functions.cpp)
    fastprop_add_tool(fastprop_instructions_${level} fastprop_${level}
        tests/cpp/tools/instruction_counts.cpp tests/cpp/op_cases.cpp)
    fastprop_add_tool(fastprop_op_bits_${level} fastprop_${level}
        tests/cpp/tools/op_bits.cpp tests/cpp/op_cases.cpp)
endforeach()

# Results must not depend on how many lanes a packet has: the highest level once more with packets
# of half the width, and AVX2 against AVX-512 where the machine has both.
function(fastprop_add_bits_test name first second)
    add_test(NAME ${name} COMMAND ${CMAKE_COMMAND}
        -DFIRST=$<TARGET_FILE:${first}> -DSECOND=$<TARGET_FILE:${second}>
        -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/same_output.cmake)
endfunction()

list(GET FASTPROP_HOST_LEVELS -1 level)
fastprop_add_library(fastprop_narrow ${level})
target_compile_definitions(fastprop_narrow PUBLIC FASTPROP_HALF_PACKETS)
fastprop_add_tool(fastprop_op_bits_narrow fastprop_narrow
    tests/cpp/tools/op_bits.cpp tests/cpp/op_cases.cpp)
fastprop_add_bits_test(bits_of_half_packets fastprop_op_bits_${level} fastprop_op_bits_narrow)
if("v3" IN_LIST FASTPROP_HOST_LEVELS AND "v4" IN_LIST FASTPROP_HOST_LEVELS)
    fastprop_add_bits_test(bits_of_v3_and_v4 fastprop_op_bits_v3 fastprop_op_bits_v4)
endif()
