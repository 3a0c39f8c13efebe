// Activations, softmax, elementwise and reductions: elements per second in cache, and the share of
// the memory's bandwidth out of it.

#include <benchmark/benchmark.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/broadcast.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"
#include "kernels/softmax.h"
#include "machine.h"

namespace {

using namespace fastprop;

template <class T>
std::vector<T> ramp(Index n) {
    std::vector<T> x(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<T>(8.0 * static_cast<double>(i * 7919 % 1009) / 1009.0 - 4.0);
    return x;
}

void count(benchmark::State& state, Index elements) {
    state.counters["Gelem/s"] = benchmark::Counter(
        1e-9 * static_cast<double>(elements) * static_cast<double>(state.iterations()),
        benchmark::Counter::kIsRate);
}

/// f(x + h) - f(x - h) against the derivative: that value and derivative belong together.
template <class T>
bool verify_activation(benchmark::State& state, Activation kind) {
    const double x[] = {-1.3, -0.4, 0.7, 2.1};
    const double h = 1e-6;
    double low[4], high[4], y[4], dx[4], slope[4];
    const double dy[4] = {1, 1, 1, 1};
    for (int i = 0; i < 4; ++i) low[i] = x[i] - h, high[i] = x[i] + h;
    activation_forward(kind, 1.0, 20.0, low, low, 4);
    activation_forward(kind, 1.0, 20.0, high, high, 4);
    activation_forward(kind, 1.0, 20.0, x, y, 4);
    activation_backward(kind, 1.0, 20.0, activation_uses_output(kind) ? y : x, dy, dx, 4);
    for (int i = 0; i < 4; ++i) slope[i] = (high[i] - low[i]) / (2 * h);
    return bench::verify(state, dx, slope, 4, 1e-7);
}

template <class T>
void activation_values(benchmark::State& state, Activation kind, Index n) {
    if (!verify_activation<T>(state, kind)) return;
    const auto x = ramp<T>(n);
    std::vector<T> y(x.size());
    for (auto _ : state) {
        activation_forward(kind, T(1), T(20), x.data(), y.data(), n);
        benchmark::ClobberMemory();
    }
    count(state, n);
    bench::report<T>(state, 0, 2.0 * static_cast<double>(n) * sizeof(T));
}

template <class T>
void activation_gradients(benchmark::State& state, Activation kind, Index n) {
    if (!verify_activation<T>(state, kind)) return;
    const auto h = ramp<T>(n);
    const auto dy = ramp<T>(n);
    std::vector<T> dx(h.size());
    for (auto _ : state) {
        activation_backward(kind, T(1), T(20), h.data(), dy.data(), dx.data(), n);
        benchmark::ClobberMemory();
    }
    count(state, n);
    bench::report<T>(state, 0, 3.0 * static_cast<double>(n) * sizeof(T));
}

template <class T>
void softmax_rows(benchmark::State& state) {
    const Index rows = state.range(0), n = state.range(1);
    const auto x = ramp<T>(rows * n);
    std::vector<T> y(x.size());
    softmax_forward(x.data(), y.data(), rows, n);
    double sum = 0;
    for (const T p : y) sum += static_cast<double>(p);
    const double want = static_cast<double>(rows);
    if (!bench::verify(state, &sum, &want, 1, 1e-4)) return;
    for (auto _ : state) {
        softmax_forward(x.data(), y.data(), rows, n);
        benchmark::ClobberMemory();
    }
    count(state, rows * n);
    bench::report<T>(state, 0, 2.0 * static_cast<double>(rows * n) * sizeof(T));
}

TensorView matrix(const std::vector<float>& values, Index rows, Index columns) {
    TensorView v;
    v.data = const_cast<float*>(values.data());
    v.rank = 2;
    v.shape[0] = rows;
    v.shape[1] = columns;
    return v;
}

/// x [rows, n] plus an operand of the given shape.
void add(benchmark::State& state, bool per_row, bool per_column) {
    const Index rows = state.range(0), n = state.range(1);
    const auto a = ramp<float>(rows * n);
    const auto b = ramp<float>(rows * n);
    std::vector<float> y(a.size());
    const TensorView in[] = {matrix(a, rows, n), matrix(b, per_row ? rows : 1, per_column ? n : 1)};
    const auto run = [&] {
        const BroadcastPlan plan = plan_broadcast(matrix(y, rows, n), in, 2, {0, rows});
        binary<float, Binary::add>(plan, a.data(), b.data(), y.data());
    };
    run();
    const float want = a[1] + b[per_column ? 1 : 0];
    if (!bench::verify(state, &y[1], &want, 1, 0.0)) return;
    for (auto _ : state) {
        run();
        benchmark::ClobberMemory();
    }
    count(state, rows * n);
    bench::report(state, 0, 2.0 * static_cast<double>(rows * n) * sizeof(float));
}

void sum(benchmark::State& state, unsigned axes) {
    const Index rows = state.range(0), n = state.range(1);
    const std::vector<float> x(static_cast<std::size_t>(rows * n), 0.5f);
    std::vector<float> y(x.size());
    const TensorView in = matrix(x, rows, n);
    const Index out_rows = axes == 1 ? n : (axes == 2 ? rows : 1);
    const auto run = [&] {
        reduce(Reduction::mean, plan_reduction(in, axes, out_rows, {0, out_rows}), x.data(),
               y.data());
    };
    run();
    if (!bench::verify(state, y.data(), x.data(), static_cast<std::size_t>(out_rows), 1e-6)) return;
    for (auto _ : state) {
        run();
        benchmark::ClobberMemory();
    }
    count(state, rows * n);
    bench::report(state, 0, static_cast<double>(rows * n) * sizeof(float));
}

BENCHMARK_CAPTURE(add, same_shape, true, true)->Args({128, 512})->Args({4096, 4096});
BENCHMARK_CAPTURE(add, row, false, true)->Args({128, 512})->Args({8192, 3});
BENCHMARK_CAPTURE(add, column, true, false)->Args({128, 512})->Args({8192, 3});
BENCHMARK_CAPTURE(add, scalar, false, false)->Args({128, 512});
BENCHMARK_CAPTURE(sum, rows, 2u)->Args({128, 512})->Args({8192, 3});
BENCHMARK_CAPTURE(sum, columns, 1u)->Args({128, 512})->Args({128, 10})->Args({8192, 3});
BENCHMARK_CAPTURE(sum, all, 3u)->Args({128, 512})->Args({4096, 4096});
BENCHMARK(softmax_rows<float>)->Args({128, 10})->Args({128, 1000});
BENCHMARK(softmax_rows<double>)->Args({128, 10})->Args({128, 1000});

/// A benchmark for every activation, on an array that fits in L1 and L2.
const bool kRegistered = [] {
    constexpr Index n = 4096;
    for (int i = 0; i < kNumActivations; ++i) {
        const auto kind = static_cast<Activation>(i);
        const std::string name = activation_name(kind);
        benchmark::RegisterBenchmark(("activation_forward/f32/" + name).c_str(),
                                     activation_values<float>, kind, n);
        benchmark::RegisterBenchmark(("activation_forward/f64/" + name).c_str(),
                                     activation_values<double>, kind, n);
        benchmark::RegisterBenchmark(("activation_backward/f32/" + name).c_str(),
                                     activation_gradients<float>, kind, n);
        benchmark::RegisterBenchmark(("activation_backward/f64/" + name).c_str(),
                                     activation_gradients<double>, kind, n);
    }
    return true;
}();

}  // namespace
