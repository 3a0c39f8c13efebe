// Optimizer updates: bytes a second beside the machine's own, in the second-level cache and far
// outside of any.

#include <cmath>

#include "machine.h"
#include "program/op.h"

namespace fastprop {
namespace {

/// An update op with the arrays that it reads besides the weight and its state, and its numbers.
struct Work {
    const char* name;
    const char* op;
    int reads;   ///< arrays that are read only: the gradient, …
    int writes;  ///< arrays that are read and written: weight and state
    std::vector<double> attrs;
    std::vector<double> scalars;
};

const double kBias1 = 1 - 0.9, kBias2 = 1 / std::sqrt(1 - 0.999);

const Work kWorks[] = {
    {"sgd", "sgd_update", 1, 1, {0, 0, 0, 0}, {1e-3, 1}},
    {"sgd_momentum", "sgd_update", 1, 2, {0, 0.9, 0, 0}, {1e-3, 1}},
    {"rmsprop", "rmsprop_update", 1, 2, {0, 0.99, 1e-8, 0, 0, 0}, {1e-3}},
    {"rmsprop_centered", "rmsprop_update", 1, 4, {0, 0.99, 1e-8, 0, 0.9, 1}, {1e-3}},
    {"adagrad", "adagrad_update", 1, 2, {0, 1e-10, 0}, {1e-3}},
    {"adadelta", "adadelta_update", 1, 3, {0, 0.9, 1e-6, 0}, {1}},
    {"adam", "adam_update", 1, 3, {0, 0.9, 0.999, 1e-8, 0}, {1e-3, 1e-3 / kBias1, kBias2}},
    {"adamw", "adamw_update", 1, 3, {0, 0.9, 0.999, 1e-8, 0.01}, {1e-3, 1e-3 / kBias1, kBias2}},
    {"amsgrad", "adam_update", 1, 4, {0, 0.9, 0.999, 1e-8, 0}, {1e-3, 1e-3 / kBias1, kBias2}},
    {"adamax", "adamax_update", 1, 3, {0, 0.9, 0.999, 1e-8, 0}, {1e-3 / kBias1}},
    {"nadam", "nadam_update", 1, 3, {0, 0.9, 0.999, 1e-8, 0, 0}, {1e-3, 1e-3, 1e-3, kBias2}},
    {"radam", "radam_update", 1, 3, {0, 0.9, 0.999, 1e-8, 0, 0}, {1e-3, 1e-3, 1}},
    {"lion", "lion_update", 1, 2, {0, 0.9, 0.99, 0.01}, {1e-3}},
    {"rprop", "rprop_update", 1, 3, {0, 0.5, 1.2, 1e-6, 50}, {}},
    {"average", "average_update", 1, 1, {0}, {0.01}},
};

/// The arrays of an update of n elements; those that it reads come first.
template <class T>
class Arrays {
public:
    Arrays(const Work& work, Index n) : work_(work), values_(), entry_(find_op(work.op)) {
        for (int k = 0; k < work.reads + work.writes; ++k) {
            values_.emplace_back(static_cast<std::size_t>(n));
            for (Index i = 0; i < n; ++i)  // state that is a mean of squares is not negative
                values_.back()[static_cast<std::size_t>(i)] = static_cast<T>(
                    0.001 * static_cast<double>(i % (101 + k)) - (k == 0 ? 0.0537 : 0));
            TensorView view;
            view.data = values_.back().data();
            view.dtype = DTypeOf<T>::value;
            view.rank = 1;
            view.shape[0] = n;
            views_.push_back(view);
        }
        step_.scalars = work.scalars.data();
        step_.num_scalars = static_cast<Index>(work.scalars.size());
        check_call(entry_, call());
    }

    void update() const { select_kernel(entry_, call())(call(), Team(0, 1, nullptr)); }

    /// The weight, or what else the op writes first.
    const std::vector<T>& result() const { return values_[static_cast<std::size_t>(work_.reads)]; }

private:
    Call call() const {
        return {views_.data(), work_.reads,        views_.data() + work_.reads,
                work_.writes,  work_.attrs.data(), &step_};
    }

    const Work& work_;
    std::vector<std::vector<T>> values_;
    std::vector<TensorView> views_;
    StepContext step_;
    const OpEntry& entry_;
};

/// Float and double differ in packets and in their tails; the formulas are tested in tests/cpp.
template <class T>
bool verified(benchmark::State& state, const Work& work) {
    const Index n = 1001;
    const Arrays<T> got(work, n);
    const Arrays<double> want(work, n);
    got.update();
    want.update();
    const std::vector<T> expected(want.result().begin(), want.result().end());
    return bench::verify(state, got.result(), expected, 1e-5);
}

template <class T>
void bench_update(benchmark::State& state, const Work& work) {
    if (!verified<T>(state, work)) return;
    const Index n = state.range(0);
    const Arrays<T> arrays(work, n);
    for (auto _ : state) {
        arrays.update();
        benchmark::ClobberMemory();
    }
    const double count = static_cast<double>(n);
    bench::report<T>(state, 0, count * sizeof(T) * (work.reads + 2 * work.writes));
    state.counters["ns/element"] = benchmark::Counter(
        count * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

const bool kRegistered = [] {
    for (const Work& work : kWorks) {
        const auto add = [&](const char* dtype, auto run) {
            const std::string name = std::string("bench_update/") + work.name + dtype;
            benchmark::RegisterBenchmark(name.c_str(), run, work)
                ->Arg(1 << 14)
                ->Arg(670000)
                ->Arg(1 << 23);
        };
        add("/float", [](benchmark::State& s, const Work& w) { bench_update<float>(s, w); });
        add("/double", [](benchmark::State& s, const Work& w) { bench_update<double>(s, w); });
    }
    return true;
}();

}  // namespace
}  // namespace fastprop
