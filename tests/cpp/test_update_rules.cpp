// Every other update (SGD, Adam and AdamW are in test_update.cpp) on single elements in plain
// double arithmetic, over several steps, sizes and teams.

#include <gtest/gtest.h>

#include <functional>

#include "op_runner.h"

namespace fastprop {
namespace {

using test::expect_close;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

using Doubles = std::vector<double>;

constexpr int kSteps = 6;
const Index kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100};

/// One element in double: gradient, weight, state, step from 1.
using Rule = std::function<void(double g, double& w, double* s, int t)>;

struct Case {
    const char* op;
    int states;
    Doubles attrs;
    std::function<Doubles(int t)> scalars;
    Rule rule;
};

double rate(int t) { return 0.1 / t; }
Doubles only_rate(int t) { return {rate(t)}; }
double bias(double beta, int t) { return 1 - std::pow(beta, t); }
double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

void move(double beta, double& average, double x) { average = beta * average + (1 - beta) * x; }

void rmsprop(double g, double& w, double* s, int t, double momentum, bool centered) {
    g += 0.1 * w;
    move(0.9, s[0], g * g);
    double& buf = s[1];
    double& mean = s[momentum != 0 ? 2 : 1];
    if (centered) move(0.9, mean, g);
    const double step = g / (std::sqrt(centered ? std::max(s[0] - mean * mean, 0.0) : s[0]) + 1e-3);
    if (momentum != 0) buf = momentum * buf + step;
    w -= rate(t) * (momentum != 0 ? buf : step);
}

Case rmsprop_case(double momentum, bool centered) {
    return {
        "rmsprop_update",
        1 + (momentum != 0) + centered,
        {0.9, 1e-3, 0.1, momentum, centered ? 1.0 : 0.0},
        only_rate,
        [=](double g, double& w, double* s, int t) { rmsprop(g, w, s, t, momentum, centered); }};
}

Case adagrad_case() {
    return {"adagrad_update", 1, {1e-6, 0.1}, only_rate, [](double g, double& w, double* s, int t) {
                g += 0.1 * w;
                s[0] += g * g;
                w -= rate(t) * g / (std::sqrt(s[0]) + 1e-6);
            }};
}

Case adadelta_case() {
    return {"adadelta_update",
            2,
            {0.8, 1e-4, 0.1},
            only_rate,
            [](double g, double& w, double* s, int t) {
                g += 0.1 * w;
                move(0.8, s[0], g * g);
                const double step = std::sqrt(s[1] + 1e-4) / std::sqrt(s[0] + 1e-4) * g;
                move(0.8, s[1], step * step);
                w -= rate(t) * step;
            }};
}

Case amsgrad_case(bool decoupled) {
    return {
        decoupled ? "adamw_update" : "adam_update",
        3,
        {0.9, 0.5, 1e-6, 0.1},
        [](int t) { return Doubles{rate(t), rate(t) / bias(0.9, t), 1 / std::sqrt(bias(0.5, t))}; },
        [=](double g, double& w, double* s, int t) {
            if (decoupled)
                w *= 1 - rate(t) * 0.1;
            else
                g += 0.1 * w;
            move(0.9, s[0], g);
            move(0.5, s[1], g * g);
            s[2] = std::max(s[2], s[1]);
            w -= rate(t) * s[0] / bias(0.9, t) / (std::sqrt(s[2] / bias(0.5, t)) + 1e-6);
        }};
}

Case adamax_case() {
    return {"adamax_update",
            2,
            {0.9, 0.7, 1e-3, 0.1},
            [](int t) { return Doubles{rate(t) / bias(0.9, t)}; },
            [](double g, double& w, double* s, int t) {
                g += 0.1 * w;
                move(0.9, s[0], g);
                s[1] = std::max(0.7 * s[1], std::abs(g) + 1e-3);
                w -= rate(t) / bias(0.9, t) * s[0] / s[1];
            }};
}

Case nadam_case(bool decoupled) {
    return {"nadam_update",
            2,
            {0.9, 0.8, 1e-3, 0.1, decoupled ? 1.0 : 0.0},
            [](int t) {
                return Doubles{rate(t), 0.3 * rate(t), 0.6 * rate(t), 1 / std::sqrt(bias(0.8, t))};
            },
            [=](double g, double& w, double* s, int t) {
                if (!decoupled) g += 0.1 * w;
                move(0.9, s[0], g);
                move(0.8, s[1], g * g);
                const double step =
                    (0.3 * g + 0.6 * s[0]) / (std::sqrt(s[1] / bias(0.8, t)) + 1e-3);
                w = w * (decoupled ? 1 - 0.1 * rate(t) : 1) - rate(t) * step;
            }};
}

Case radam_case(bool decoupled) {
    return {"radam_update",
            2,
            {0.9, 0.8, 1e-3, 0.1, decoupled ? 1.0 : 0.0},
            [](int t) { return Doubles{rate(t), 0.7 * rate(t), t > 3 ? 1.0 : 0.0}; },
            [=](double g, double& w, double* s, int t) {
                if (!decoupled) g += 0.1 * w;
                move(0.9, s[0], g);
                move(0.8, s[1], g * g);
                const double step = 0.7 * s[0] / (t > 3 ? std::sqrt(s[1]) + 1e-3 : 1);
                w = w * (decoupled ? 1 - 0.1 * rate(t) : 1) - rate(t) * step;
            }};
}

Case lion_case() {
    return {
        "lion_update", 1, {0.9, 0.8, 0.1}, only_rate, [](double g, double& w, double* s, int t) {
            w -= rate(t) * (sign(0.9 * s[0] + 0.1 * g) + 0.1 * w);
            move(0.8, s[0], g);
        }};
}

Case rprop_case() {
    return {"rprop_update",
            2,
            {0.5, 1.5, 0.01, 0.2},
            [](int) { return Doubles{}; },
            [](double g, double& w, double* s, int) {
                const double agreement = sign(g) * sign(s[0]);
                const double factor = agreement > 0 ? 1.5 : agreement < 0 ? 0.5 : 1;
                s[1] = std::min(std::max(s[1] * factor, 0.01), 0.2);
                s[0] = agreement < 0 ? 0 : g;
                w -= sign(s[0]) * s[1];
            }};
}

std::vector<Case> cases() {
    return {rmsprop_case(0, false),
            rmsprop_case(0.8, false),
            rmsprop_case(0, true),
            rmsprop_case(0.8, true),
            adagrad_case(),
            adadelta_case(),
            amsgrad_case(false),
            amsgrad_case(true),
            adamax_case(),
            nadam_case(false),
            nadam_case(true),
            radam_case(false),
            radam_case(true),
            lion_case(),
            rprop_case()};
}

/// A weight [rows, 3] and its state, moved kSteps times; scalars start at place 2 of a row.
template <class T>
struct Run {
    std::vector<std::vector<T>> arrays;
    std::vector<Doubles> want;

    Run(const Case& c, Index rows, int threads) : rows_(rows) {
        for (int k = 0; k <= c.states; ++k)
            arrays.push_back(k == 0 ? random_values<T>(rows * 3, 1)
                                    : std::vector<T>(static_cast<std::size_t>(rows * 3), T(0.25)));
        for (const auto& array : arrays) want.emplace_back(array.begin(), array.end());
        for (int t = 1; t <= kSteps; ++t) {
            const auto g = random_values<T>(rows * 3, 10 + static_cast<std::uint64_t>(t));
            move_by_hand(c, g, t);
            Doubles attrs = {2}, row = {-7, -7};
            attrs.insert(attrs.end(), c.attrs.begin(), c.attrs.end());
            for (const double value : c.scalars(t)) row.push_back(value);
            StepContext step;
            step.scalars = row.data();
            step.num_scalars = static_cast<Index>(row.size());
            std::vector<TensorView> out;
            for (const auto& array : arrays) out.push_back(view(array, {rows, 3}));
            run_op(c.op, {view(g, {rows, 3})}, out, attrs, threads, &step);
        }
    }

private:
    void move_by_hand(const Case& c, const std::vector<T>& g, int t) {
        for (std::size_t i = 0; i < g.size(); ++i) {
            double state[3] = {};
            for (int k = 0; k < c.states; ++k) state[k] = want[static_cast<std::size_t>(k) + 1][i];
            c.rule(double(g[i]), want[0][i], state, t);
            for (int k = 0; k < c.states; ++k) want[static_cast<std::size_t>(k) + 1][i] = state[k];
        }
    }

    Index rows_;
};

template <class T>
class UpdateRules : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(UpdateRules, Types);

TYPED_TEST(UpdateRules, MatchOnEverySize) {
    using T = TypeParam;
    for (const Case& c : cases()) {
        for (const Index rows : kSizes) {
            SCOPED_TRACE(c.op);
            const Run<T> run(c, rows, 2);
            // Centered: the difference of two near squares under a root loses half the digits.
            const bool loses = std::string(c.op) == "rmsprop_update";
            const double tolerance =
                sizeof(T) == 4 ? (loses ? 3e-4 : 1e-5) : (loses ? 1e-9 : 1e-14);
            for (std::size_t k = 0; k < run.arrays.size(); ++k)
                expect_close(run.arrays[k], run.want[k], tolerance);
        }
    }
}

TYPED_TEST(UpdateRules, BitsDoNotDependOnTheTeam) {
    using T = TypeParam;
    for (const Case& c : cases()) {
        for (const Index rows : {1, 7, 17, 100}) {
            const Run<T> alone(c, rows, 1), three(c, rows, 3);
            for (std::size_t k = 0; k < alone.arrays.size(); ++k)
                EXPECT_TRUE(same_bits(alone.arrays[k], three.arrays[k])) << c.op;
        }
    }
}

StepContext step_of(const Doubles& row) {
    StepContext step;
    step.scalars = row.data();
    step.num_scalars = static_cast<Index>(row.size());
    return step;
}

/// Adam's direction by hand, from moments of 0.5 and 0.25 and the numbers 1.5 and 2.
template <class T>
Doubles lamb_by_hand(const std::vector<T>& g, const std::vector<T>& w) {
    Doubles r(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
        const double mean = 0.9 * 0.5 + 0.1 * double(g[i]);
        const double square = 0.8 * 0.25 + 0.2 * double(g[i]) * double(g[i]);
        r[i] = 1.5 * mean / (2.0 * std::sqrt(square) + 1e-3) + 0.1 * double(w[i]);
    }
    return r;
}

template <class T>
void check_lamb(Index rows, Index columns, bool zero) {
    SCOPED_TRACE(rows);
    const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-14;
    const Index n = rows * columns;
    const auto g = random_values<T>(n, 1);
    auto w = random_values<T>(n, 2);
    if (zero) w.assign(w.size(), T(0));  // a weight of length 0 takes the plain step
    std::vector<T> r(g.size()), m(g.size(), T(0.5)), v(g.size(), T(0.25));
    std::vector<T> squares(static_cast<std::size_t>(2 * rows));
    const Doubles numbers = {1.5, 2.0, 0.1};
    const StepContext step = step_of(numbers);
    const auto shaped = [&](const std::vector<T>& x) { return view(x, {rows, columns}); };
    run_op("lamb_direction", {shaped(g), shaped(w)},
           {shaped(r), shaped(m), shaped(v), view(squares, {1, 2, rows})}, {0, 0.9, 0.8, 1e-3, 0.1},
           2, &step);
    Doubles want = lamb_by_hand(g, w);
    expect_close(r, want, tolerance);
    double w_norm = 0, r_norm = 0;
    for (std::size_t i = 0; i < g.size(); ++i) {
        w_norm += double(w[i]) * double(w[i]);
        r_norm += want[i] * want[i];
    }
    const double ratio = zero ? 1 : std::sqrt(w_norm / r_norm);
    for (std::size_t i = 0; i < g.size(); ++i) want[i] = double(w[i]) - 0.1 * ratio * want[i];
    run_op("lamb_update", {shaped(r), view(squares, {1, 2, rows})}, {shaped(w)}, {2}, 2, &step);
    expect_close(w, want, tolerance);
}

TYPED_TEST(UpdateRules, LambFitsTheStepToTheWeight) {
    for (const Index rows : kSizes)
        for (const Index columns : {1, 3, 8, 65})
            for (const bool zero : {false, true}) check_lamb<TypeParam>(rows, columns, zero);
}

TYPED_TEST(UpdateRules, AverageMovesByItsShare) {
    using T = TypeParam;
    for (const Index n : kSizes) {
        const auto w = random_values<T>(n, 1), start = random_values<T>(n, 2);
        for (const double share : {0.0, 0.25, 1.0}) {
            std::vector<T> average(start);
            const Doubles numbers = {share};
            const StepContext step = step_of(numbers);
            run_op("average_update", {view(w, {n})}, {view(average, {n})}, {0}, 2, &step);
            Doubles want(w.size());
            for (std::size_t i = 0; i < w.size(); ++i)
                want[i] = (1 - share) * double(start[i]) + share * double(w[i]);
            expect_close(average, want, sizeof(T) == 4 ? 1e-6 : 1e-15);
            EXPECT_TRUE(share != 1.0 || same_bits(average, w));
            EXPECT_TRUE(share != 0.0 || same_bits(average, start));
        }
    }
}

TEST(UpdateEdges, ABrokenGradientIsSeen) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const Case& c : cases()) {
        std::vector<double> g = {nan, 1.0, nan}, w = {1, 1, 1};
        std::vector<Doubles> state(static_cast<std::size_t>(c.states), Doubles(3, 0.25));
        std::vector<TensorView> out = {view(w, {3})};
        for (const Doubles& s : state) out.push_back(view(s, {3}));
        Doubles attrs = {0};
        attrs.insert(attrs.end(), c.attrs.begin(), c.attrs.end());
        const Doubles numbers = c.scalars(1);
        const StepContext step = step_of(numbers);
        run_op(c.op, {view(g, {3})}, out, attrs, 1, &step);
        EXPECT_TRUE(std::isnan(w[0]) && !std::isnan(w[1]) && std::isnan(w[2])) << c.op;
    }
}

TEST(UpdateEdges, MissingStateIsRefused) {
    const std::vector<float> w(4);
    const TensorView v = view(w, {4});
    for (const Case& c : cases()) {
        Doubles attrs = {0};
        attrs.insert(attrs.end(), c.attrs.begin(), c.attrs.end());
        const Doubles numbers(4);
        const StepContext step = step_of(numbers);
        const int needed = c.op == std::string("adam_update") || c.op == std::string("adamw_update")
                               ? 2
                               : c.states;
        EXPECT_THROW(run_op(c.op, {v}, std::vector<TensorView>(static_cast<std::size_t>(needed), v),
                            attrs, 1, &step),
                     Error)
            << c.op;
    }
    EXPECT_THROW(run_op("lamb_direction", {v, v}, {v, v, v, v}, {0, 0.9, 0.9, 0, 0}), Error);
    EXPECT_THROW(run_op("lamb_update", {v, v}, {v}, {0}), Error);
}

}  // namespace
}  // namespace fastprop
