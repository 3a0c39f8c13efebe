#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "core/check.h"
#include "core/cpu_info.h"
#include "core/device.h"
#include "core/granted_cpus.h"
#include "core/level.h"
#include "core/line_round_trip.h"
#include "core/machine_speed.h"
#include "core/team.h"

namespace py = pybind11;

namespace fastprop {
namespace {

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
    result["level"] = level_name();
    result["simd_width_float32"] = simd_width<float>();
    result["simd_width_float64"] = simd_width<double>();
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

void require_threads(const char* where, int threads) {
    require(threads > 0 && threads <= 4096, where, ": threads must be 1 to 4096, got ", threads);
}

/// (floating-point operations, bytes) a second.
std::pair<double, double> machine_speed(const std::string& dtype, int threads, std::size_t bytes) {
    const bool is_double = dtype == dtype_name(DType::f64);
    if (!is_double && dtype != dtype_name(DType::f32))
        throw TypeError(concat("machine_speed: dtype must be float32 or float64, got ", dtype));
    require_threads("machine_speed", threads);
    const py::gil_scoped_release release;
    const double flops = is_double ? measure_peak<double>(threads) : measure_peak<float>(threads);
    return {flops, measure_bandwidth(threads, bytes)};
}

double multiply_add_peak(int threads) {
    require_threads("multiply_add_peak", threads);
    const py::gil_scoped_release release;
    return measure_peak<float>(threads);
}

std::vector<double> measured_round_trips(int threads) {
    require_threads("line_round_trips", threads);
    const py::gil_scoped_release release;
    return line_round_trips(threads);
}

}  // namespace

void bind_config(py::module_& m) {
    m.def("config", &config, "What this module was built with, and what it finds on this machine.");
    m.def("available_threads", &available_threads,
          "Threads this process may use: FASTPROP_NUM_THREADS, or the smallest of OMP_NUM_THREADS, "
          "the CPU affinity and the cgroup's quota.");
    m.def(
        "granted_cpus", &granted_cpus,
        "CPUs that the system grants to this process: by the CPU affinity and the cgroup's quota.");
    m.def("machine_speed", &machine_speed, py::arg("dtype"), py::arg("threads"), py::arg("bytes"),
          "Floating-point operations and bytes a second that `threads` threads reach together now: "
          "multiply-adds in registers, and y = x + 3 z over arrays of `bytes` in all.");
    m.def("multiply_add_peak", &multiply_add_peak, py::arg("threads"),
          "float32 operations a second that `threads` threads reach together now, in registers.");
    m.def("line_round_trips", &measured_round_trips, py::arg("threads"),
          "Seconds that a cache line takes now from the first of `threads` threads to each of the "
          "others and back.");
}

}  // namespace fastprop
