// Activations, prelu and softmax against their definitions in long double.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "core/check.h"
#include "kernels/activation.h"
#include "op_runner.h"
#include "reference.h"

namespace fastprop {
namespace {

using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

using Real = long double;
const Index kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100};

/// Value and derivative of activation `kind` at x.
std::pair<Real, Real> reference(Activation kind, Real p0, Real p1, Real x) {
    const Real s = 1 / (1 + std::exp(-x));
    const Real cdf = std::erfc(-x / std::sqrt(Real(2))) / 2;
    const Real pdf = std::exp(-x * x / 2) / std::sqrt(2 * std::acos(Real(-1)));
    const Real hard = std::min(std::max(x / 6 + Real(0.5), Real(0)), Real(1));
    switch (kind) {
        case Activation::identity:
            return {x, 1};
        case Activation::relu:
            return {x > 0 ? x : 0, x > 0 ? 1 : 0};
        case Activation::leaky_relu:
            return {x > 0 ? x : p0 * x, x > 0 ? 1 : p0};
        case Activation::elu:
            return {x > 0 ? x : p0 * std::expm1(x), x > 0 ? 1 : p0 * std::exp(x)};
        case Activation::selu: {
            const Real scale = 1.0507009873554804934193349852946L;
            const Real alpha = 1.6732632423543772848170429916717L;
            return {scale * (x > 0 ? x : alpha * std::expm1(x)),
                    scale * (x > 0 ? 1 : alpha * std::exp(x))};
        }
        case Activation::celu:
            return {x > 0 ? x : p0 * std::expm1(x / p0), x > 0 ? 1 : std::exp(x / p0)};
        case Activation::gelu:
            return {x * cdf, cdf + x * pdf};
        case Activation::gelu_tanh: {
            const Real slope = std::sqrt(2 / std::acos(Real(-1)));
            const Real t = 1 / (1 + std::exp(-2 * slope * (x + 0.044715L * x * x * x)));
            return {x * t, t + x * t * (1 - t) * 2 * slope * (1 + 3 * 0.044715L * x * x)};
        }
        case Activation::silu:
            return {x * s, s * (1 + x * (1 - s))};
        case Activation::mish: {
            const Real t = std::tanh(std::log1p(std::exp(x)));
            return {x * t, t + x * s * (1 - t * t)};
        }
        case Activation::softplus:
            if (p0 * x > p1) return {x, 1};
            return {std::log1p(std::exp(p0 * x)) / p0, 1 / (1 + std::exp(-p0 * x))};
        case Activation::softsign:
            return {x / (1 + std::abs(x)), 1 / ((1 + std::abs(x)) * (1 + std::abs(x)))};
        case Activation::sigmoid:
            return {s, s * (1 - s)};
        case Activation::hard_sigmoid:
            return {hard, x > -3 && x < 3 ? 1 / Real(6) : 0};
        case Activation::hard_swish:
            return {x * hard, x <= -3 ? 0 : (x >= 3 ? 1 : x / 3 + Real(0.5))};
        case Activation::tanh:
            return {std::tanh(x), 1 - std::tanh(x) * std::tanh(x)};
        case Activation::slope:  // no function
            break;
    }
    return {0, 0};
}

struct Parameters {
    double p0;
    double p1;
};

Parameters parameters_of(Activation kind) {
    if (kind == Activation::softplus) return {2.5, 20.0};
    if (kind == Activation::leaky_relu) return {0.01, 0};
    return {1.3, 0};
}

template <class T>
class ActivationTest : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ActivationTest, Types);

template <class F>
void for_each_kind(const F& f) {
    for (int i = 0; i < kNumActivations; ++i) {
        const auto kind = static_cast<Activation>(i);
        SCOPED_TRACE(activation_name(kind));
        f(kind, parameters_of(kind));
    }
}

TYPED_TEST(ActivationTest, values_and_derivatives) {
    using T = TypeParam;
    const double tolerance = 8 * std::numeric_limits<T>::epsilon();
    for_each_kind([&](Activation kind, Parameters p) {
        for (Index i = -400; i <= 400; ++i) {
            const T x = static_cast<T>(i) / T(32) + T(0.001);
            const T p0 = static_cast<T>(p.p0);
            const auto want = reference(kind, static_cast<Real>(p0), static_cast<Real>(p.p1), x);
            T y, dx;
            const T dy = T(1);
            activation_forward(kind, p0, static_cast<T>(p.p1), &x, &y, 1);
            const T* h = activation_uses_output(kind) ? &y : &x;
            activation_backward(kind, p0, static_cast<T>(p.p1), h, &dy, &dx, 1);
            // The value to relative accuracy also where it is tiny, gelu's tail included.
            // (gelu_tanh is the exponential of a rounded cubic, up to 150 here: so much larger is
            // its error.)
            const double relative = kind == Activation::gelu_tanh ? 40 * tolerance : tolerance;
            ASSERT_NEAR(y, static_cast<double>(want.first),
                        relative * std::abs(static_cast<double>(want.first)) +
                            16 * std::numeric_limits<T>::min())
                << x;
            ASSERT_NEAR(dx, static_cast<double>(want.second), tolerance) << x;
        }
    });
}

TYPED_TEST(ActivationTest, small_arguments_keep_relative_accuracy) {
    using T = TypeParam;
    for (const Activation kind : {Activation::elu, Activation::selu, Activation::celu,
                                  Activation::tanh, Activation::gelu, Activation::silu}) {
        for (const T x : {T(-1e-6), T(1e-6), T(-1e-20)}) {
            T y;
            activation_forward(kind, T(1), T(0), &x, &y, 1);
            const double want = static_cast<double>(reference(kind, 1, 0, x).first);
            EXPECT_NEAR(y / want, 1.0, 8 * std::numeric_limits<T>::epsilon());
        }
    }
}

TYPED_TEST(ActivationTest, nan_and_infinities) {
    using T = TypeParam;
    const T inf = std::numeric_limits<T>::infinity();
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for_each_kind([&](Activation kind, Parameters p) {
        const T x[] = {nan, inf, -inf};
        const T dy[] = {T(1), T(1), T(1)};
        T y[3], dx[3];
        const T p0 = static_cast<T>(p.p0), p1 = static_cast<T>(p.p1);
        activation_forward(kind, p0, p1, x, y, 3);
        activation_backward(kind, p0, p1, activation_uses_output(kind) ? y : x, dy, dx, 3);
        EXPECT_TRUE(std::isnan(y[0]));
        const auto far = reference(kind, p.p0, p.p1, 1e4L);
        EXPECT_EQ(y[1], far.first > 100 ? inf : T(1));
        EXPECT_NEAR(dx[1], static_cast<double>(far.second), 1e-6);
        const auto near = reference(kind, p.p0, p.p1, -1e4L);
        if (near.first < -100) {
            EXPECT_EQ(y[2],
                      kind == Activation::leaky_relu || kind == Activation::identity ? -inf : T(0));
        } else {
            EXPECT_NEAR(y[2], static_cast<double>(near.first), 2e-4);
        }
        EXPECT_NEAR(dx[2], static_cast<double>(near.second), 1e-6);
    });
}

TYPED_TEST(ActivationTest, same_bits_for_every_slice_and_in_place) {
    using T = TypeParam;
    for_each_kind([&](Activation kind, Parameters p) {
        const std::vector<double> attrs = {static_cast<double>(kind), p.p0, p.p1};
        for (const Index n : kSizes) {
            std::vector<T> x = random_values<T>(n, 1);
            for (T& v : x) v *= T(4);
            const std::vector<T> dy = random_values<T>(n, 2);
            std::vector<T> y(x.size()), dx(x.size());
            for (Index i = 0; i < n; ++i) {
                const auto at = static_cast<std::size_t>(i);
                activation_forward(kind, static_cast<T>(p.p0), static_cast<T>(p.p1), &x[at], &y[at],
                                   1);
                activation_backward(kind, static_cast<T>(p.p0), static_cast<T>(p.p1), &x[at],
                                    &dy[at], &dx[at], 1);
            }
            for (const int threads : {1, 2, 3}) {
                std::vector<T> got = nan_values<T>(n);
                run_op("activation", {view(x, {n})}, {view(got, {n})}, attrs, threads);
                EXPECT_TRUE(same_bits(got, y));
                got = x;
                run_op("activation", {view(got, {n})}, {view(got, {n})}, attrs, threads);
                EXPECT_TRUE(same_bits(got, y));
                got = dy;
                run_op("activation_backward", {view(x, {n}), view(got, {n})}, {view(got, {n})},
                       attrs, threads);
                EXPECT_TRUE(same_bits(got, dx));
                // The value, and the derivative in the place of x; with it the backward pass.
                std::vector<T> slope = x, value = nan_values<T>(n);
                run_op("activation_with_slope", {view(slope, {n})},
                       {view(value, {n}), view(slope, {n})}, attrs, threads);
                EXPECT_TRUE(same_bits(value, y));
                if (kind == Activation::relu || activation_uses_output(kind)) continue;
                got = dy;
                activation_backward(Activation::slope, T(0), T(0), slope.data(), got.data(),
                                    got.data(), n);
                EXPECT_TRUE(same_bits(got, dx));
            }
        }
    });
}

TEST(Activation, unknown_kinds_are_refused) {
    std::vector<float> x(3), y(3);
    for (const double kind : {-1.0, 16.0, 1.5, 1e300, std::nan("")})
        EXPECT_THROW(run_op("activation", {view(x, {3})}, {view(y, {3})}, {kind, 0, 0}), Error);
    EXPECT_THROW(
        run_op("activation_with_slope", {view(x, {3})}, {view(y, {3}), view(x, {2})}, {6, 0, 0}),
        Error);
    EXPECT_THROW(activation_uses_output(static_cast<Activation>(99)), Error);
    EXPECT_THROW(activation_name(static_cast<Activation>(-1)), Error);
}

// ---- prelu -------------------------------------------------------------------------------------

TYPED_TEST(ActivationTest, prelu) {
    using T = TypeParam;
    for (const Index channels : kSizes) {
        for (const Index inner : {Index{1}, Index{5}}) {
            const Index rows = 5, n = rows * channels * inner;
            const auto x = random_values<T>(n, 1), dy = random_values<T>(n, 2);
            for (const Index slopes : {Index{1}, channels}) {
                const auto slope = random_values<T>(slopes, 3);
                std::vector<double> y, dx, dslope(slope.size());
                for (Index i = 0; i < n; ++i) {
                    const auto at = static_cast<std::size_t>(i);
                    const auto c = static_cast<std::size_t>(slopes == 1 ? 0 : i / inner % channels);
                    const bool on = x[at] > 0;
                    y.push_back(on ? x[at] : double(slope[c]) * x[at]);
                    dx.push_back(on ? dy[at] : double(slope[c]) * dy[at]);
                    if (!on) dslope[c] += double(x[at]) * dy[at];
                }
                const TensorView vx = view(x, {rows, channels, inner}), vs = view(slope, {slopes});
                const TensorView vd = view(dy, {rows, channels, inner});
                std::vector<T> first[3];
                for (const int threads : {1, 2, 3}) {
                    auto got = nan_values<T>(n), got_dx = nan_values<T>(n);
                    auto got_slope = nan_values<T>(slopes);
                    run_op("prelu", {vx, vs}, {view(got, {rows, channels, inner})}, {}, threads);
                    run_op("prelu_backward_data", {vx, vs, vd},
                           {view(got_dx, {rows, channels, inner})}, {}, threads);
                    run_op("prelu_backward_slope", {vx, vs, vd}, {view(got_slope, {slopes})}, {},
                           threads);
                    test::expect_close(got, y, 2 * std::numeric_limits<T>::epsilon());
                    test::expect_close(got_dx, dx, 2 * std::numeric_limits<T>::epsilon());
                    test::expect_close(got_slope, dslope, test::sum_tolerance<T>(n / slopes));
                    if (threads == 1) {
                        first[0] = got, first[1] = got_dx, first[2] = got_slope;
                    }
                    EXPECT_TRUE(same_bits(got, first[0]) && same_bits(got_dx, first[1]) &&
                                same_bits(got_slope, first[2]));
                }
            }
        }
    }
}

// ---- softmax -----------------------------------------------------------------------------------

TYPED_TEST(ActivationTest, softmax_and_log_softmax) {
    using T = TypeParam;
    const double tolerance = 40 * std::numeric_limits<T>::epsilon();
    for (const Index n :
         {Index{1}, Index{3}, Index{8}, Index{10}, Index{33}, Index{100}, Index{5000}}) {
        const Index rows = n > 1000 ? 3 : 21;
        std::vector<T> x = random_values<T>(rows * n, 1);
        for (T& v : x) v = v * T(30) + T(1000);  // overflows if it is not shifted
        const auto dy = random_values<T>(rows * n, 2);
        std::vector<double> p, logp, dx, dlog;
        for (Index r = 0; r < rows; ++r) {
            const T* row = x.data() + r * n;
            const T* d = dy.data() + r * n;
            const Real top = *std::max_element(row, row + n);
            Real sum = 0, dot = 0, total = 0;
            for (Index i = 0; i < n; ++i) sum += std::exp(row[i] - top);
            for (Index i = 0; i < n; ++i) dot += std::exp(row[i] - top) / sum * d[i], total += d[i];
            for (Index i = 0; i < n; ++i) {
                const Real prob = std::exp(row[i] - top) / sum;
                p.push_back(static_cast<double>(prob));
                logp.push_back(static_cast<double>(row[i] - top - std::log(sum)));
                dx.push_back(static_cast<double>(prob * (d[i] - dot)));
                dlog.push_back(static_cast<double>(d[i] - prob * total));
            }
        }
        std::vector<T> first[4];
        for (const int threads : {1, 2, 3}) {
            std::vector<T> got[4];
            for (auto& g : got) g = nan_values<T>(rows * n);
            const TensorView vd = view(dy, {rows, n});
            run_op("softmax", {view(x, {rows, n})}, {view(got[0], {rows, n})}, {}, threads);
            run_op("log_softmax", {view(x, {rows, n})}, {view(got[1], {rows, n})}, {}, threads);
            run_op("softmax_backward", {view(got[0], {rows, n}), vd}, {view(got[2], {rows, n})}, {},
                   threads);
            run_op("log_softmax_backward", {view(got[1], {rows, n}), vd}, {view(got[3], {rows, n})},
                   {}, threads);
            test::expect_close(got[0], p, tolerance);
            test::expect_close(got[1], logp, tolerance);
            test::expect_close(got[2], dx, tolerance);
            test::expect_close(got[3], dlog, tolerance * 10);
            for (int k = 0; k < 4; ++k) {
                if (threads == 1) first[k] = got[k];
                EXPECT_TRUE(same_bits(got[k], first[k])) << k;
            }
        }
    }
}

TEST(Softmax, nan_and_shapes) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> x = {1, nan, 2, 0, 1, 2}, y(6);
    run_op("softmax", {view(x, {2, 3})}, {view(y, {2, 3})}, {});
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[2]));
    EXPECT_NEAR(y[3] + y[4] + y[5], 1.0f, 1e-6f);
    EXPECT_THROW(run_op("softmax", {view(x, {6})}, {view(y, {6})}, {}), Error);
    EXPECT_THROW(run_op("softmax", {view(x, {3, 2})}, {view(y, {2, 3})}, {}), Error);
    run_op("softmax", {view(x, {0, 3})}, {view(y, {0, 3})}, {});
    run_op("softmax", {view(x, {3, 0})}, {view(y, {3, 0})}, {});
}

}  // namespace
}  // namespace fastprop
