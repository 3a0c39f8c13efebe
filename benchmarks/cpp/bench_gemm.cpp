// The matrix product, B packed beforehand or as it lies, against the peak of multiply-adds in
// registers. With more than one thread each takes a slice of the rows, as in a Program.
//
//     fastprop_bench_v3 --benchmark_filter=gemm
//     fastprop_bench_v3 --benchmark_filter=gemm_zeros
//     fastprop_bench_v3 --benchmark_filter='gemm/f64/packed/.*/threads:1'

#include <string>
#include <vector>

#include "core/team.h"
#include "kernels/gemm.h"
#include "kernels/pack.h"
#include "machine.h"

namespace fastprop::bench {
namespace {

/// A is [m, k], B is [k, n].
struct Shape {
    Index m, k, n;
};

template <class T>
std::vector<T> values(Index n, unsigned seed) {
    std::vector<T> v(static_cast<std::size_t>(n));
    for (T& x : v) {
        seed = seed * 1664525u + 1013904223u;
        x = static_cast<T>(seed >> 8) / static_cast<T>(1 << 23) - T(1);
    }
    return v;
}

/// The same with `percent` of the values left and zeros for the others.
template <class T>
std::vector<T> thinned(Index n, unsigned seed, int percent) {
    std::vector<T> v = values<T>(n, seed);
    const std::vector<T> dice = values<T>(n, seed + 1);
    for (std::size_t i = 0; i < v.size(); ++i)
        if (dice[i] >= T(percent) / 50 - 1) v[i] = 0;
    return v;
}

/// A few dozen elements of C, summed in double.
template <class T>
bool verify_samples(benchmark::State& state, const std::vector<T>& a, const std::vector<T>& b,
                    const std::vector<T>& c, Index m, Index n, Index k) {
    std::vector<T> got, want;
    for (Index s = 0; s < 64; ++s) {
        const Index i = s * 7919 % m, j = s * 104729 % n;
        double sum = 0;
        for (Index l = 0; l < k; ++l) {
            sum += static_cast<double>(a[static_cast<std::size_t>(i * k + l)]) *
                   static_cast<double>(b[static_cast<std::size_t>(l * n + j)]);
        }
        got.push_back(c[static_cast<std::size_t>(i * n + j)]);
        want.push_back(static_cast<T>(sum));
    }
    return verify(state, got, want, sizeof(T) == 4 ? 2e-4 : 1e-10);
}

/// `run` makes C from A and B; the rate counts all multiply-adds.
template <class T, class Run>
void time_product(benchmark::State& state, const Run& run, const std::vector<T>& a,
                  const std::vector<T>& b, const std::vector<T>& c, const Shape& shape,
                  int threads) {
    run();
    if (!verify_samples(state, a, b, c, shape.m, shape.n, shape.k)) return;
    for (auto _ : state) {
        run();
        benchmark::ClobberMemory();
    }
    report<T>(state,
              2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
                  static_cast<double>(shape.k),
              0, threads);
}

template <class T>
void product(benchmark::State& state, const Shape& shape, bool packed, int threads) {
    const Index m = shape.m, k = shape.k, n = shape.n;
    const std::vector<T> a = values<T>(m * k, 1), b = values<T>(k * n, 2);
    std::vector<T> panels(static_cast<std::size_t>(packed_size<T>(k, n)));
    std::vector<T> c(static_cast<std::size_t>(m * n));
    pack_rows(b.data(), panels.data(), k, n, {0, k});
    GemmRight<T> right = {b.data(), n};
    if (packed) right = {panels.data(), k * panel_width<T>(), GemmLayout::panels};
    const auto slice = [&](const Range& rows) {
        gemm<T>({a.data() + rows.begin * k, k}, right, c.data() + rows.begin * n, n, rows.size(), n,
                k);
    };
    const auto run = [&] {
        if (threads == 1) {
            slice({0, m});
        } else {
            run_team(threads, [&](const Team& team) { slice(team.slice(m)); });
        }
    };
    time_product(state, run, a, b, c, {m, k, n}, threads);
}

template <class T>
void register_product(const char* dtype, const Shape& shape, bool packed, int threads) {
    const std::string name = std::string("gemm/") + dtype + (packed ? "/packed/" : "/plain/") +
                             std::to_string(shape.m) + "x" + std::to_string(shape.k) + "x" +
                             std::to_string(shape.n) + "/threads:" + std::to_string(threads);
    auto* added = benchmark::RegisterBenchmark(
        name.c_str(), [=](benchmark::State& state) { product<T>(state, shape, packed, threads); });
    if (threads > 1) added->UseRealTime();
}

template <class T>
void register_products(const char* dtype) {
    const Shape shapes[] = {// Large enough for the peak in every direction.
                            {128, 256, 256},
                            {256, 256, 256},
                            {128, 784, 512},
                            {256, 512, 512},
                            {512, 1024, 1024},
                            {1024, 4096, 1024},
                            // Small, thin, and odd ones.
                            {32, 64, 64},
                            {1, 1024, 1024},
                            {256, 128, 10},
                            {256, 128, 1},
                            {100, 300, 17},
                            {1000, 777, 333}};
    const int all = available_threads();
    for (const Shape& shape : shapes) {
        for (const bool packed : {true, false}) {
            register_product<T>(dtype, shape, packed, 1);
            // A team has to be called together for each product here: some microseconds.
            const bool large = shape.m >= 128 && shape.k >= 256 && shape.n >= 256;
            if (all > 1 && large) register_product<T>(dtype, shape, packed, all);
        }
    }
}

/// A of which `percent` is not zero, as ReLU leaves it.
template <class T>
void product_with_zeros(benchmark::State& state, bool transposed) {
    const Index m = state.range(0), k = state.range(1), n = state.range(2);
    const std::vector<T> a = thinned<T>(m * k, 1, static_cast<int>(state.range(3)));
    const std::vector<T> b = values<T>(k * n, 2);
    std::vector<T> stored = a, c(static_cast<std::size_t>(m * n));
    for (Index i = 0; transposed && i < m; ++i)
        for (Index l = 0; l < k; ++l)
            stored[static_cast<std::size_t>(l * m + i)] = a[static_cast<std::size_t>(i * k + l)];
    const auto run = [&] {
        gemm<T>({stored.data(), transposed ? m : k, transposed}, {b.data(), n}, c.data(), n, m, n,
                k);
    };
    time_product(state, run, a, b, c, {m, k, n}, 1);
}

template <class T>
void packing(benchmark::State& state, bool transposed) {
    const Index in = state.range(0), out = state.range(1);
    const std::vector<T> w = values<T>(in * out, 3);
    const Index size = transposed ? packed_size<T>(out, in) : packed_size<T>(in, out);
    std::vector<T> panels(static_cast<std::size_t>(size));
    const auto pack = transposed ? &pack_rows_transposed<T> : &pack_rows<T>;
    for (auto _ : state) {
        pack(w.data(), panels.data(), in, out, {0, in});
        benchmark::ClobberMemory();
    }
    report<T>(state, 0, 2.0 * static_cast<double>(in * out) * sizeof(T));
}

void register_all() {
    register_products<float>("f32");
    register_products<double>("f64");
    for (const bool transposed : {false, true}) {
        auto* zeros = benchmark::RegisterBenchmark(
            transposed ? "gemm_zeros/f32/transposed" : "gemm_zeros/f32/rows",
            [=](benchmark::State& state) { product_with_zeros<float>(state, transposed); });
        zeros->ArgNames({"m", "k", "n", "percent"});
        for (const int percent : {100, 70, 50, 30, 10})
            zeros->Args({128, 512, 512, percent})->Args({128, 128, 128, percent});
        benchmark::RegisterBenchmark(
            transposed ? "pack_weights_transposed/f32" : "pack_weights/f32",
            [=](benchmark::State& state) { packing<float>(state, transposed); })
            ->Args({64, 64})
            ->Args({784, 512})
            ->Args({2048, 2048});
    }
}

[[maybe_unused]] const bool registered = (register_all(), true);

}  // namespace
}  // namespace fastprop::bench
