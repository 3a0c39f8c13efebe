# fastprop_eigen: Eigen 3.4 or newer, its headers as system headers. Looked for in this order:
#   1. Eigen3_DIR and CMAKE_PREFIX_PATH    2. the system    (both by find_package)
#   3. the build requirement cmeel-eigen, a wheel that puts Eigen under site-packages/cmeel.prefix

add_library(fastprop_eigen INTERFACE)
# EIGEN_FAST_MATH: by default float square roots are an estimate and one Newton step.
target_compile_definitions(fastprop_eigen INTERFACE
    EIGEN_MPL2_ONLY EIGEN_DONT_PARALLELIZE EIGEN_FAST_MATH=0)

# No version here: a package's version file refuses every major version but its own.
find_package(Eigen3 CONFIG QUIET)
if(Eigen3_FOUND AND Eigen3_VERSION VERSION_LESS 3.4)
    message(STATUS "fastprop: Eigen ${Eigen3_VERSION} in ${Eigen3_DIR} is too old, looking further")
    set(Eigen3_FOUND FALSE)
endif()

if(Eigen3_FOUND)
    target_link_libraries(fastprop_eigen INTERFACE Eigen3::Eigen)
    message(STATUS "fastprop: Eigen ${Eigen3_VERSION} in ${Eigen3_DIR}")
else()
    find_package(Python 3.10 REQUIRED COMPONENTS Interpreter)
    execute_process(
        COMMAND "${Python_EXECUTABLE}" -c "import sys; print(';'.join(p for p in sys.path if p))"
        OUTPUT_VARIABLE python_path OUTPUT_STRIP_TRAILING_WHITESPACE)
    file(TO_CMAKE_PATH "${python_path}" python_path)
    find_path(FASTPROP_EIGEN_INCLUDE_DIR Eigen/Core
        PATHS ${python_path} ${CMAKE_PREFIX_PATH}
        PATH_SUFFIXES cmeel.prefix/include/eigen3
        NO_DEFAULT_PATH NO_CACHE)
    if(NOT FASTPROP_EIGEN_INCLUDE_DIR)
        message(FATAL_ERROR
            "fastprop: Eigen 3.4 or newer was not found. Set Eigen3_DIR or CMAKE_PREFIX_PATH, "
            "install your system's Eigen package, or run: pip install cmeel-eigen")
    endif()
    target_include_directories(fastprop_eigen SYSTEM INTERFACE "${FASTPROP_EIGEN_INCLUDE_DIR}")
    message(STATUS "fastprop: Eigen of cmeel-eigen in ${FASTPROP_EIGEN_INCLUDE_DIR}")
endif()
