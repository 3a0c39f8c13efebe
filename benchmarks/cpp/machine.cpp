#include "machine.h"

#include <cstdio>

#include "core/team.h"

namespace fastprop::bench {
namespace {

constexpr std::size_t kLargeArrays = std::size_t{192} * 1024 * 1024;

}  // namespace

const Machine& machine() {
    static const Machine measured = [] {
        Machine m;
        m.threads = available_threads();
        for (int i = 0; i < 2; ++i) {
            const int threads = i == 0 ? 1 : m.threads;
            m.peak_float[i] = measure_peak<float>(threads);
            m.peak_double[i] = measure_peak<double>(threads);
            m.bandwidth[i] = measure_bandwidth(threads, kLargeArrays);
        }
        return m;
    }();
    return measured;
}

std::string describe(const Machine& m) {
    const auto line = [](const char* what, const double* values, const char* unit) {
        char text[128];
        std::snprintf(text, sizeof(text), "%-22s %8.1f %8.1f %s\n", what, values[0] * 1e-9,
                      values[1] * 1e-9, unit);
        return std::string(text);
    };
    return "measured on this machine, 1 and " + std::to_string(m.threads) + " threads:\n" +
           line("FMA peak, float32", m.peak_float, "GFLOP/s") +
           line("FMA peak, float64", m.peak_double, "GFLOP/s") +
           line("memory bandwidth", m.bandwidth, "GB/s");
}

}  // namespace fastprop::bench
