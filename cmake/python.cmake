# The extension modules: fastprop/_core/_core_<level> for every level, and _cpu, compiled for the
# baseline, which tells which of them this CPU can run.

find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
set(PYBIND11_FINDPYTHON ON)
find_package(pybind11 3 CONFIG REQUIRED)

file(GLOB binding_sources CONFIGURE_DEPENDS csrc/bindings/*.cpp)
list(FILTER binding_sources EXCLUDE REGEX "/(cpu_probe|level_entry)\\.cpp$")

function(fastprop_hide_symbols target)
    # Only PyInit_* leaves a module: not even the standard library's templates, which GCC exports.
    if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
        set(script "${CMAKE_CURRENT_SOURCE_DIR}/cmake/exports.map")
        target_link_options(${target} PRIVATE "-Wl,--version-script=${script}" -Wl,--gc-sections)
        set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${script}")
    endif()
endfunction()

add_library(fastprop_bindings OBJECT ${binding_sources})
target_include_directories(fastprop_bindings PRIVATE csrc)
target_link_libraries(fastprop_bindings PRIVATE fastprop_flags pybind11::headers pybind11::module)

foreach(level IN LISTS FASTPROP_LEVELS)
    pybind11_add_module(_core_${level} MODULE
        csrc/bindings/level_entry.cpp $<TARGET_OBJECTS:fastprop_bindings>)
    target_compile_definitions(_core_${level} PRIVATE FASTPROP_MODULE=_core_${level})
    target_link_libraries(_core_${level} PRIVATE fastprop_${level})
    fastprop_hide_symbols(_core_${level})
endforeach()

Python_add_library(_cpu MODULE WITH_SOABI csrc/bindings/cpu_probe.cpp)
string(REPLACE ";" "," built_levels "${FASTPROP_LEVELS}")
target_compile_definitions(_cpu PRIVATE FASTPROP_BUILT_LEVELS="${built_levels}")
target_compile_features(_cpu PRIVATE cxx_std_17)
target_include_directories(_cpu PRIVATE csrc)
fastprop_hide_symbols(_cpu)

set(modules _cpu)
foreach(level IN LISTS FASTPROP_LEVELS)
    list(APPEND modules _core_${level})
endforeach()
install(TARGETS ${modules} LIBRARY DESTINATION fastprop/_core)
