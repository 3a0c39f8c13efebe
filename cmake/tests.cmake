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

# Compiled once for all levels, but for the tests of packets themselves.
file(GLOB test_sources CONFIGURE_DEPENDS tests/cpp/test_*.cpp)
list(FILTER test_sources EXCLUDE REGEX "/test_packets\\.cpp$")

function(fastprop_add_test_objects name type)
    add_library(${name} ${type} ${ARGN})
    target_include_directories(${name} PRIVATE csrc tests/cpp benchmarks/cpp)
    target_link_libraries(${name} PRIVATE fastprop_flags GTest::gtest)
    if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
        # GoogleTest's own macros, as its documentation uses them.
        target_compile_options(${name} PRIVATE -Wno-gnu-zero-variadic-macro-arguments)
    endif()
endfunction()

fastprop_add_test_objects(fastprop_test_cases STATIC
    tests/cpp/op_cases.cpp tests/cpp/accuracy.cpp tests/cpp/accuracy_functions.cpp)
fastprop_add_test_objects(fastprop_test_sources OBJECT ${test_sources})
if(NOT MSVC)
    target_compile_options(fastprop_test_sources PRIVATE -O1)  # half the time that -O3 takes
endif()
foreach(level IN LISTS FASTPROP_HOST_LEVELS)
    fastprop_add_test_objects(fastprop_test_packets_${level} OBJECT tests/cpp/test_packets.cpp)
    target_link_libraries(fastprop_test_packets_${level} PRIVATE fastprop_packets_${level})
    add_executable(fastprop_tests_${level}
        $<TARGET_OBJECTS:fastprop_test_sources> $<TARGET_OBJECTS:fastprop_test_packets_${level}>)
    target_link_libraries(fastprop_tests_${level} PRIVATE
        fastprop_test_cases fastprop_${level} GTest::gtest_main)
    add_test(NAME cpp_${level} COMMAND fastprop_tests_${level})
endforeach()

# Programs of the tests' sources that are no unit tests, for each level:
#   fastprop_ulp_<level>            errors over all floats, which takes too long for a test
#   fastprop_instructions_<level>   pieces of work for tests/instruction_counts.py
#   fastprop_op_bits_<level>        hashes of every op's results
foreach(tool ulp instruction_counts op_bits)
    fastprop_add_test_objects(fastprop_tool_${tool} OBJECT tests/cpp/tools/${tool}.cpp)
endforeach()
function(fastprop_add_tool name tool library)
    add_executable(${name} $<TARGET_OBJECTS:fastprop_tool_${tool}>)
    target_link_libraries(${name} PRIVATE fastprop_test_cases ${library} GTest::gtest)
endfunction()

foreach(level IN LISTS FASTPROP_HOST_LEVELS)
    fastprop_add_tool(fastprop_ulp_${level} ulp fastprop_${level})
    fastprop_add_tool(fastprop_instructions_${level} instruction_counts fastprop_${level})
    fastprop_add_tool(fastprop_op_bits_${level} op_bits fastprop_${level})
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
target_compile_definitions(fastprop_narrow PRIVATE FASTPROP_HALF_PACKETS)
fastprop_add_tool(fastprop_op_bits_narrow op_bits fastprop_narrow)
fastprop_add_bits_test(bits_of_half_packets fastprop_op_bits_${level} fastprop_op_bits_narrow)
if("v3" IN_LIST FASTPROP_HOST_LEVELS AND "v4" IN_LIST FASTPROP_HOST_LEVELS)
    fastprop_add_bits_test(bits_of_v3_and_v4 fastprop_op_bits_v3 fastprop_op_bits_v4)
endif()
