# fastprop_bench_<level>: all of benchmarks/cpp against one level that this machine runs.

find_package(benchmark REQUIRED)
file(GLOB benchmark_sources CONFIGURE_DEPENDS benchmarks/cpp/*.cpp)
add_library(fastprop_bench_sources OBJECT ${benchmark_sources})
target_include_directories(fastprop_bench_sources PRIVATE csrc benchmarks/cpp)
target_link_libraries(fastprop_bench_sources PRIVATE fastprop_flags benchmark::benchmark)
foreach(level IN LISTS FASTPROP_HOST_LEVELS)
    add_executable(fastprop_bench_${level} $<TARGET_OBJECTS:fastprop_bench_sources>)
    target_link_libraries(fastprop_bench_${level} PRIVATE fastprop_${level} benchmark::benchmark)
endforeach()
