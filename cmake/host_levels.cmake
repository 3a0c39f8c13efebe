# FASTPROP_HOST_LEVELS: those of FASTPROP_LEVELS that the machine which builds can also run.

if(CMAKE_CROSSCOMPILING OR FASTPROP_NATIVE)
    set(FASTPROP_HOST_LEVELS ${FASTPROP_LEVELS})
    return()
endif()

try_run(run_result compiled
    "${CMAKE_CURRENT_BINARY_DIR}/host_levels" "${CMAKE_CURRENT_LIST_DIR}/host_levels.cpp"
    CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${CMAKE_CURRENT_SOURCE_DIR}/csrc"
    CXX_STANDARD 17
    COMPILE_OUTPUT_VARIABLE compile_output
    RUN_OUTPUT_VARIABLE supported)
if(NOT compiled OR NOT run_result EQUAL 0)
    message(FATAL_ERROR "fastprop: could not ask the CPU for its levels:\n${compile_output}")
endif()

set(FASTPROP_HOST_LEVELS "")
foreach(level IN LISTS FASTPROP_LEVELS)
    if(level IN_LIST supported)
        list(APPEND FASTPROP_HOST_LEVELS ${level})
    endif()
endforeach()
message(STATUS "fastprop: levels that this machine runs: ${FASTPROP_HOST_LEVELS}")
