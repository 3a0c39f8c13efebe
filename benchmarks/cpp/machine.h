#pragma once
/// @file
/// @brief What this machine can do at best, measured, and how a benchmark reports its share of it.

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "core/machine_speed.h"

namespace fastprop::bench {

struct Machine {
    int threads = 1;  ///< what available_threads() says
    double peak_float[2] = {};
    double peak_double[2] = {};
    double bandwidth[2] = {};  ///< [0] of one thread, [1] of all

    double stream(int used_threads) const { return bandwidth[used_threads > 1 ? 1 : 0]; }
};

/// Measured on the first call.
const Machine& machine();

/// The figures of machine() for people.
std::string describe(const Machine& m);

/// Sets the counters of a finished benchmark: GFLOP/s and GB/s, and their share, in percent, of
/// what the machine can do. `flops` and `bytes` are those of one iteration; 0 leaves a pair of
/// counters out. The share of bandwidth exceeds 100 where the data stays in a cache.
///
/// A shared machine has slow spells, so the peak is taken again here, in the same second.
/// With more than one thread register the benchmark with UseRealTime().
template <class T = float>
void report(benchmark::State& state, double flops, double bytes, int threads = 1) {
    const auto rate = [&](double per_iteration) {
        return benchmark::Counter(per_iteration * static_cast<double>(state.iterations()),
                                  benchmark::Counter::kIsRate);
    };
    if (flops > 0) {
        state.counters["GFLOP/s"] = rate(flops * 1e-9);
        state.counters["peak%"] = rate(100.0 * flops / measure_peak<T>(threads));
    }
    if (bytes > 0) {
        state.counters["GB/s"] = rate(bytes * 1e-9);
        state.counters["stream%"] = rate(100.0 * bytes / machine().stream(threads));
    }
}

/// True if every |got - want| <= tolerance * (1 + |want|); otherwise the benchmark is marked failed
/// and must return. Call it before the timing loop: a wrong kernel has no speed.
template <class T>
bool verify(benchmark::State& state, const T* got, const T* want, std::size_t n, double tolerance) {
    for (std::size_t i = 0; i < n; ++i) {
        const double g = static_cast<double>(got[i]);
        const double w = static_cast<double>(want[i]);
        if (!(std::abs(g - w) <= tolerance * (1.0 + std::abs(w)))) {
            const std::string text = "wrong result at " + std::to_string(i) + ": got " +
                                     std::to_string(g) + ", want " + std::to_string(w);
            state.SkipWithError(text.c_str());
            return false;
        }
    }
    return true;
}

template <class T>
bool verify(benchmark::State& state, const std::vector<T>& got, const std::vector<T>& want,
            double tolerance) {
    if (got.size() != want.size()) {
        state.SkipWithError("result has the wrong size");
        return false;
    }
    return verify(state, got.data(), want.data(), got.size(), tolerance);
}

}  // namespace fastprop::bench
