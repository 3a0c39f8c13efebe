// The matrix product on one thread, B packed beforehand or as it lies, against the peak of
// multiply-adds in registers.
//
//     fastprop_bench_v3 --benchmark_filter=gemm

#include <string>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/pack.h"
#include "machine.h"

namespace fastprop::bench {
namespace {

template <class T>
std::vector<T> values(Index n, unsigned seed) {
    std::vector<T> v(static_cast<std::size_t>(n));
    for (T& x : v) {
        seed = seed * 1664525u + 1013904223u;
        x = static_cast<T>(seed >> 8) / static_cast<T>(1 << 23) - T(1);
    }
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

template <class T>
void product(benchmark::State& state, Index m, Index k, Index n, bool packed) {
    const std::vector<T> a = values<T>(m * k, 1), b = values<T>(k * n, 2);
    std::vector<T> panels(static_cast<std::size_t>(packed_size<T>(k, n)));
    std::vector<T> c(static_cast<std::size_t>(m * n));
    pack_rows(b.data(), panels.data(), k, n, {0, k});
    GemmRight<T> right = {b.data(), n};
    if (packed) right = {panels.data(), k * panel_width<T>(), GemmLayout::panels};
    const auto run = [&] { gemm<T>({a.data(), k}, right, c.data(), n, m, n, k); };
    run();
    if (!verify_samples(state, a, b, c, m, n, k)) return;
    for (auto _ : state) {
        run();
        benchmark::ClobberMemory();
    }
    report<T>(state, 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k),
              0);
}

template <class T>
void register_products(const char* dtype) {
    const Index shapes[][3] = {{1, 1024, 1024},   {32, 64, 64},     {128, 784, 512},
                               {256, 512, 512},   {256, 128, 10},   {256, 128, 1},
                               {512, 1024, 1024}, {1000, 777, 333}, {1024, 4096, 1024}};
    for (const auto& shape : shapes) {
        const Index m = shape[0], k = shape[1], n = shape[2];
        for (const bool packed : {true, false}) {
            const std::string name = std::string("gemm/") + dtype +
                                     (packed ? "/packed/" : "/plain/") + std::to_string(m) + "x" +
                                     std::to_string(k) + "x" + std::to_string(n);
            benchmark::RegisterBenchmark(
                name.c_str(), [=](benchmark::State& state) { product<T>(state, m, k, n, packed); });
        }
    }
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
