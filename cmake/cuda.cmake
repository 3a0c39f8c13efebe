# fastprop_cuda: the sources in csrc/cuda, compiled once: device code does not depend on the CPU's level.

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    # Machine code for what the compiler's default covers, and PTX for everything newer.
    set(CMAKE_CUDA_ARCHITECTURES 80-virtual)
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)

file(GLOB cuda_sources CONFIGURE_DEPENDS csrc/cuda/*.cu)
add_library(fastprop_cuda STATIC ${cuda_sources})
target_include_directories(fastprop_cuda PUBLIC csrc)
target_compile_features(fastprop_cuda PUBLIC cuda_std_17)
set_target_properties(fastprop_cuda PROPERTIES CUDA_VISIBILITY_PRESET hidden)
target_link_libraries(fastprop_cuda PUBLIC CUDA::cudart_static)
