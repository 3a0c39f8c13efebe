#include <pybind11/pybind11.h>

#include <Eigen/Core>

#include "bindings/bindings.h"
#include "core/check.h"
#include "core/cpu_info.h"
#include "core/device.h"
#include "core/packet.h"
#include "core/team.h"

namespace py = pybind11;

namespace fastprop {
namespace {

std::string eigen_version() {
#if defined(EIGEN_PATCH_VERSION)
    // From version 5 on the number has three parts of its own; "world" stays 3.
    return concat(EIGEN_MAJOR_VERSION, '.', EIGEN_MINOR_VERSION, '.', EIGEN_PATCH_VERSION);
#else
    return concat(EIGEN_WORLD_VERSION, '.', EIGEN_MAJOR_VERSION, '.', EIGEN_MINOR_VERSION);
#endif
}

bool openmp_built() {
#if defined(_OPENMP)
    return true;
#else
    return false;
#endif
}

py::dict config() {
    const CacheSizes& caches = cache_sizes();
    py::dict result;
    result["version"] = FASTPROP_VERSION;
    result["level"] = FASTPROP_LEVEL;
    result["simd_width_float32"] = Simd<float>::width;
    result["simd_width_float64"] = Simd<double>::width;
    result["cpu"] = cpu_name();
    result["available_threads"] = available_threads();
    result["l1d_bytes"] = caches.l1d;
    result["l2_bytes"] = caches.l2;
    result["l3_bytes"] = caches.l3;
    result["compiler"] = compiler_name();
    result["eigen"] = eigen_version();
    result["openmp"] = openmp_built();
    result["cuda_built"] = cuda_built();
    result["cuda"] = cuda_description();
    return result;
}

}  // namespace

void bind_config(py::module_& m) {
    m.def("config", &config, "What this module was built with, and what it finds on this machine.");
    m.def("available_threads", &available_threads,
          "Threads this process may use: FASTPROP_NUM_THREADS, or the smallest of OMP_NUM_THREADS, "
          "the CPU affinity and the cgroup's quota.");
    m.def("cuda_available", &cuda_available, "Is there a CUDA device that this build can use?");
}

}  // namespace fastprop
