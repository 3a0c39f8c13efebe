# Runs two programs and compares what they print:  cmake -DFIRST=… -DSECOND=… -P same_output.cmake

foreach(name FIRST SECOND)
    execute_process(COMMAND "${${name}}" OUTPUT_VARIABLE ${name}_lines RESULT_VARIABLE failed)
    if(failed)
        message(FATAL_ERROR "${${name}} failed: ${failed}")
    endif()
    string(REGEX REPLACE "[][;]" " " ${name}_lines "${${name}_lines}")  # no lists inside lines
    string(REPLACE "\n" ";" ${name}_lines "${${name}_lines}")
endforeach()

list(LENGTH FIRST_lines count)
if(count LESS 2)
    message(FATAL_ERROR "${FIRST} printed nothing")
endif()
if(NOT FIRST_lines STREQUAL SECOND_lines)
    set(differences ${FIRST_lines})
    list(REMOVE_ITEM differences ${SECOND_lines})
    list(JOIN differences "\n" text)
    message(FATAL_ERROR "${FIRST} and ${SECOND} differ:\n${text}")
endif()
message(STATUS "${count} equal lines")
