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
    bool row_sums = false;  ///< it also writes two sums for each row
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
    {"lamb_direction",
     "lamb_direction",
     2,
     3,
     {0, 0.9, 0.999, 1e-6, 0.01},
     {1 / kBias1, kBias2},
     true},
    {"average", "average_update", 1, 1, {0}, {0.01}},
};

/// The arrays of an update of a weight [rows, columns]; those that it reads come first.
template <class T>
class Arrays {
public:
    Arrays(const Work& work, Index rows, Index columns) : work_(work), entry_(find_op(work.op)) {
        for (int k = 0; k < work.reads + work.writes; ++k) add(k, {rows, columns});
        if (work.row_sums) add(1, {1, 2, rows});
        step_.scalars = work.scalars.data();
        step_.num_scalars = static_cast<Index>(work.scalars.size());
        check_call(entry_, call());
    }

    void update() const { select_kernel(entry_, call())(call(), Team(0, 1, nullptr)); }

    /// The weight, or what else the op writes first.
    const std::vector<T>& result() const { return values_[static_cast<std::size_t>(work_.reads)]; }

private:
    void add(int k, const std::vector<Index>& shape) {
        TensorView view;
        view.dtype = DTypeOf<T>::value;
        for (const Index extent : shape) view.shape[view.rank++] = extent;
        std::vector<T> values(static_cast<std::size_t>(view.size()));
        for (std::size_t i = 0; i < values.size(); ++i) {
            // State that is a mean of squares is not negative; a gradient has both signs.
            const double value = 0.001 * static_cast<double>(i % static_cast<std::size_t>(101 + k));
            values[i] = static_cast<T>(k == 0 ? value - 0.0537 : value);
        }
        values_.push_back(std::move(values));
        view.data = values_.back().data();
        views_.push_back(view);
    }

    Call call() const {
        return {views_.data(),
                work_.reads,
                views_.data() + work_.reads,
                work_.writes + (work_.row_sums ? 1 : 0),
                work_.attrs.data(),
                &step_};
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
    const Arrays<T> got(work, 3, 333);
    const Arrays<double> want(work, 3, 333);
    got.update();
    want.update();
    const std::vector<T> expected(want.result().begin(), want.result().end());
    return bench::verify(state, got.result(), expected, 1e-5);
}

template <class T>
void bench_update(benchmark::State& state, const Work& work) {
    if (!verified<T>(state, work)) return;
    const Index n = state.range(0);
    const Arrays<T> arrays(work, n / 512, 512);
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
                ->Arg(655360)
                ->Arg(1 << 23);
        };
        add("/float", [](benchmark::State& s, const Work& w) { bench_update<float>(s, w); });
        add("/double", [](benchmark::State& s, const Work& w) { bench_update<double>(s, w); });
    }
    return true;
}();

}  // namespace
}  // namespace fastprop
