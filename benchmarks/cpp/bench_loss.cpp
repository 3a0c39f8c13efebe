// Losses, value and gradient in one pass, in the sizes of a batch; random numbers and shuffling.

#include <cmath>
#include <numeric>

#include "kernels/loss.h"
#include "kernels/random.h"
#include "machine.h"

namespace fastprop {
namespace {

template <class T>
std::vector<T> values(Index n, std::uint32_t stream) {
    std::vector<T> x(static_cast<std::size_t>(n));
    random_uniform<T>({1, stream, 0}, x.data(), 0, n, 0.0, 1.0);
    return x;
}

void set_rate(benchmark::State& state, Index elements) {
    state.counters["ns/element"] = benchmark::Counter(
        static_cast<double>(elements) * 1e-9,
        benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

/// Row losses by definition.
template <class T>
std::vector<T> cross_entropy_by_hand(const std::vector<T>& x,
                                     const std::vector<std::int64_t>& labels, Index classes) {
    std::vector<T> loss;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const T* row = x.data() + static_cast<Index>(i) * classes;
        double sum = 0;
        for (Index j = 0; j < classes; ++j) sum += std::exp(static_cast<double>(row[j]));
        loss.push_back(static_cast<T>(std::log(sum) - static_cast<double>(row[labels[i]])));
    }
    return loss;
}

template <class T>
void bench_cross_entropy(benchmark::State& state) {
    const Index rows = state.range(0), classes = state.range(1);
    const std::vector<T> x = values<T>(rows * classes, 1);
    const std::vector<T> g(static_cast<std::size_t>(rows), T(1));
    std::vector<std::int64_t> labels(static_cast<std::size_t>(rows));
    for (Index i = 0; i < rows; ++i) labels[static_cast<std::size_t>(i)] = i * 7 % classes;
    std::vector<T> loss(g), dx(x);
    const auto run = [&] {
        cross_entropy<T>(x.data(), labels.data(), g.data(), nullptr, loss.data(), dx.data(), rows,
                         classes, 0.0);
    };
    run();
    if (!bench::verify(state, loss, cross_entropy_by_hand(x, labels, classes), 1e-5)) return;
    for (auto _ : state) {
        run();
        benchmark::ClobberMemory();
    }
    set_rate(state, rows * classes);
}

template <class T, LossKind kind>
void bench_elementwise(benchmark::State& state) {
    const Index rows = state.range(0), row_size = state.range(1);
    const std::vector<T> p = values<T>(rows * row_size, 1), t = values<T>(rows * row_size, 2);
    const std::vector<T> g(static_cast<std::size_t>(rows), T(1));
    std::vector<T> loss(g), dp(p), want(g);
    const T one = T(1);
    for (Index i = 0; i < rows; ++i) {
        double sum = 0;
        for (Index j = i * row_size; j < (i + 1) * row_size; ++j) {
            const double x = static_cast<double>(p[static_cast<std::size_t>(j)]);
            const double y = static_cast<double>(t[static_cast<std::size_t>(j)]);
            sum += kind == LossKind::mse ? (x - y) * (x - y) : std::log1p(std::exp(x)) - x * y;
        }
        want[static_cast<std::size_t>(i)] = static_cast<T>(sum / static_cast<double>(row_size));
    }
    const auto run = [&] {
        elementwise_loss<T>(kind, p.data(), t.data(), g.data(), aux_constant(&one, row_size),
                            loss.data(), dp.data(), nullptr, rows, row_size, LossOptions{});
    };
    run();
    if (!bench::verify(state, loss, want, 1e-5)) return;
    for (auto _ : state) {
        run();
        benchmark::ClobberMemory();
    }
    set_rate(state, rows * row_size);
}

template <class T>
void bench_normal(benchmark::State& state) {
    std::vector<T> x(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        random_normal<T>({1, 2, 3}, x.data(), 0, state.range(0), 0.0, 1.0);
        benchmark::ClobberMemory();
    }
    set_rate(state, state.range(0));
}

template <class T>
void bench_uniform(benchmark::State& state) {
    std::vector<T> x(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        random_uniform<T>({1, 2, 3}, x.data(), 0, state.range(0), 0.0, 1.0);
        benchmark::ClobberMemory();
    }
    set_rate(state, state.range(0));
}

void bench_permutation(benchmark::State& state) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(state.range(0)));
    permutation(1, 2, 3, order.data(), state.range(0));
    const std::int64_t sum = std::accumulate(order.begin(), order.end(), std::int64_t{0});
    if (sum != state.range(0) * (state.range(0) - 1) / 2)
        return state.SkipWithError("not a permutation");
    std::uint32_t epoch = 0;
    for (auto _ : state) {
        permutation(1, 2, ++epoch, order.data(), state.range(0));
        benchmark::ClobberMemory();
    }
    set_rate(state, state.range(0));
}

BENCHMARK(bench_cross_entropy<float>)
    ->Args({128, 10})
    ->Args({128, 32})
    ->Args({128, 33})
    ->Args({128, 100})
    ->Args({1024, 1000});
BENCHMARK(bench_cross_entropy<double>)->Args({128, 10})->Args({1024, 1000});
BENCHMARK(bench_elementwise<float, LossKind::mse>)
    ->Args({32, 1})
    ->Args({4096, 1})
    ->Args({256, 3})
    ->Args({256, 10})
    ->Args({128, 784});
BENCHMARK(bench_elementwise<double, LossKind::mse>)->Args({4096, 1})->Args({128, 784});
BENCHMARK(bench_elementwise<float, LossKind::binary_cross_entropy>)
    ->Args({32, 1})
    ->Args({4096, 1})
    ->Args({256, 10})
    ->Args({128, 784});
BENCHMARK(bench_uniform<float>)->Arg(100000);
BENCHMARK(bench_uniform<double>)->Arg(100000);
BENCHMARK(bench_normal<float>)->Arg(100000);
BENCHMARK(bench_normal<double>)->Arg(100000);
BENCHMARK(bench_permutation)->Arg(1000)->Arg(60000)->Arg(1000000);

}  // namespace
}  // namespace fastprop
