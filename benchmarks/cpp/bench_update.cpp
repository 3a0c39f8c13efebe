// Optimizer updates: bytes a second beside the machine's own, in the second-level cache and far
// outside of any.

#include <cmath>

#include "kernels/update.h"
#include "machine.h"

namespace fastprop {
namespace {

const AdamStep kStep = {1e-3, 1e-3 / (1 - 0.9), 1 / std::sqrt(1 - 0.999)};

/// Gradient, weight and state of n elements.
template <class T>
struct Arrays {
    std::vector<T> g, w, m, v;

    explicit Arrays(std::size_t n) : g(n), w(n), m(n), v(n) {
        for (std::size_t i = 0; i < n; ++i) {
            g[i] = static_cast<T>(0.001 * static_cast<double>(i % 101) - 0.05);
            w[i] = static_cast<T>(0.01 * static_cast<double>(i % 37));
        }
    }

    Index size() const { return static_cast<Index>(g.size()); }
};

template <class T>
void set_sizes(benchmark::State& state, double arrays_read, double arrays_written) {
    const double n = static_cast<double>(state.range(0));
    bench::report<T>(state, 0, n * sizeof(T) * (arrays_read + arrays_written));
    state.counters["ns/element"] = benchmark::Counter(
        n * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

template <class T, bool decoupled>
void bench_adam(benchmark::State& state) {
    Arrays<T> a(static_cast<std::size_t>(state.range(0)));
    AdamOptions options;
    options.decoupled = decoupled;
    options.weight_decay = decoupled ? 0.01 : 0.0;
    std::vector<T> want(a.w);
    for (std::size_t i = 0; i < want.size(); ++i) {
        const double g = static_cast<double>(a.g[i]), w = static_cast<double>(a.w[i]);
        const double step =
            0.1 * g * kStep.step_size / (std::sqrt(0.001 * g * g) * kStep.inv_sqrt_bias + 1e-8);
        want[i] = static_cast<T>(w * (1 - 1e-3 * options.weight_decay) - step);
    }
    adam_update(a.g.data(), a.w.data(), a.m.data(), a.v.data(), a.size(), kStep, options);
    if (!bench::verify(state, a.w, want, 1e-6)) return;
    for (auto _ : state) {
        adam_update(a.g.data(), a.w.data(), a.m.data(), a.v.data(), a.size(), kStep, options);
        benchmark::ClobberMemory();
    }
    set_sizes<T>(state, 4, 3);
}

template <class T, bool momentum>
void bench_sgd(benchmark::State& state) {
    Arrays<T> a(static_cast<std::size_t>(state.range(0)));
    SgdOptions options;
    options.momentum = momentum ? 0.9 : 0.0;
    std::vector<T> want(a.w);
    for (std::size_t i = 0; i < want.size(); ++i) want[i] -= static_cast<T>(1e-3) * a.g[i];
    sgd_update(a.g.data(), a.w.data(), a.m.data(), a.size(), 1e-3, 1.0, options);
    if (!bench::verify(state, a.w, want, 1e-6)) return;
    for (auto _ : state) {
        sgd_update(a.g.data(), a.w.data(), a.m.data(), a.size(), 1e-3, 1.0, options);
        benchmark::ClobberMemory();
    }
    set_sizes<T>(state, momentum ? 3 : 2, momentum ? 2 : 1);
}

#define FASTPROP_SIZES ->Arg(1 << 10)->Arg(1 << 14)->Arg(670000)->Arg(1 << 23)
BENCHMARK(bench_adam<float, false>) FASTPROP_SIZES;
BENCHMARK(bench_adam<double, false>) FASTPROP_SIZES;
BENCHMARK(bench_adam<float, true>) FASTPROP_SIZES;
BENCHMARK(bench_sgd<float, false>) FASTPROP_SIZES;
BENCHMARK(bench_sgd<float, true>) FASTPROP_SIZES;
#undef FASTPROP_SIZES

}  // namespace
}  // namespace fastprop
