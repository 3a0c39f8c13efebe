// Elementwise ops: values, broadcasting, NaN, and the same bits for every slice.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/check.h"
#include "op_runner.h"
#include "reference.h"

namespace fastprop {
namespace {

using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::Shape;
using test::size_of;
using test::view;
using test::view_of;

const Index kSizes[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100};

/// Where output element i of `out` reads an operand of shape `in`.
std::size_t source(Index i, const Shape& in, const Shape& out) {
    Index offset = 0, stride = 1;
    for (std::size_t k = 0; k < out.size(); ++k) {
        const Index extent = out[out.size() - 1 - k];
        const Index index = i % extent;
        i /= extent;
        if (k >= in.size()) continue;
        const Index own = in[in.size() - 1 - k];
        if (own != 1) offset += index * stride;
        stride *= own;
    }
    return static_cast<std::size_t>(offset);
}

/// Runs the op on 1, 2 and 3 threads, and returns the result if all are the same.
template <class T>
std::vector<T> run_all(const std::string& name, const std::vector<TensorView>& in, const Shape& out,
                       const std::vector<double>& attrs = {}) {
    std::vector<T> first;
    for (const int threads : {1, 2, 3}) {
        std::vector<T> y = nan_values<T>(size_of(out));
        run_op(name, in, {view_of(y, out)}, attrs, threads);
        if (threads == 1) first = y;
        EXPECT_TRUE(same_bits(first, y)) << name << " on " << threads;
    }
    return first;
}

struct UnaryCase {
    const char* name;
    double (*f)(double);
    bool positive;  ///< takes positive numbers only
};

const UnaryCase kUnary[] = {
    {"neg", [](double x) { return -x; }, false},
    {"exp", [](double x) { return std::exp(x); }, false},
    {"log", [](double x) { return std::log(x); }, true},
    {"sqrt", [](double x) { return std::sqrt(x); }, true},
    {"rsqrt", [](double x) { return 1 / std::sqrt(x); }, true},
    {"abs", [](double x) { return std::abs(x); }, false},
    {"sign", [](double x) { return double((x > 0) - (x < 0)); }, false},
    {"square", [](double x) { return x * x; }, false},
    {"reciprocal", [](double x) { return 1 / x; }, true},
    {"sin", [](double x) { return std::sin(x); }, false},
    {"cos", [](double x) { return std::cos(x); }, false},
    {"erf", [](double x) { return std::erf(x); }, false},
    {"log1p", [](double x) { return std::log1p(x); }, true},
    {"expm1", [](double x) { return std::expm1(x); }, false},
    {"log2", [](double x) { return std::log2(x); }, true},
    {"floor", [](double x) { return std::floor(x); }, false},
    {"ceil", [](double x) { return std::ceil(x); }, false},
    {"round", [](double x) { return std::nearbyint(x); }, false},
    {"trunc", [](double x) { return std::trunc(x); }, false},
    {"copy", [](double x) { return x; }, false},
};

struct BinaryCase {
    const char* name;
    double (*f)(double, double);
    double epsilons = 1;
};

const BinaryCase kBinary[] = {
    {"add", [](double a, double b) { return a + b; }},
    {"sub", [](double a, double b) { return a - b; }},
    {"mul", [](double a, double b) { return a * b; }},
    {"div", [](double a, double b) { return a / b; }},
    {"pow", [](double a, double b) { return std::pow(a, b); }},
    {"maximum", [](double a, double b) { return a > b ? a : b; }},
    {"minimum", [](double a, double b) { return a < b ? a : b; }},
    {"greater", [](double a, double b) { return a > b ? 1.0 : 0.0; }},
    {"greater_equal", [](double a, double b) { return a >= b ? 1.0 : 0.0; }},
    {"less", [](double a, double b) { return a < b ? 1.0 : 0.0; }},
    {"less_equal", [](double a, double b) { return a <= b ? 1.0 : 0.0; }},
    {"equal", [](double a, double b) { return a == b ? 1.0 : 0.0; }},
    {"not_equal", [](double a, double b) { return a != b ? 1.0 : 0.0; }},
    {"remainder", [](double a, double b) { return a - b * std::floor(a / b); }},
    {"fmod", [](double a, double b) { return std::fmod(a, b); }},
    {"floor_divide", [](double a, double b) { return std::floor(a / b); }},
    {"atan2", [](double a, double b) { return std::atan2(a, b); }, 3},
    {"hypot", [](double a, double b) { return std::hypot(a, b); }, 3},
    {"logaddexp", [](double a, double b) { return std::log(std::exp(a) + std::exp(b)); }, 3},
};

template <class T>
class Elementwise : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Elementwise, Types);

TYPED_TEST(Elementwise, unary) {
    using T = TypeParam;
    for (const UnaryCase& op : kUnary) {
        SCOPED_TRACE(op.name);
        for (const Index n : kSizes) {
            std::vector<T> x = random_values<T>(n, 1);
            for (T& v : x) v = op.positive ? std::abs(v) * T(5) + T(0.01) : v * T(5);
            std::vector<double> want;
            for (const T v : x) want.push_back(op.f(v));
            test::expect_close(run_all<T>(op.name, {view(x, {n})}, {n}), want,
                               4 * std::numeric_limits<T>::epsilon());
        }
    }
}

/// Output, and two operands that broadcast to it.
const Shape kBroadcasts[][3] = {
    {{}, {}, {}},
    {{1}, {}, {1}},
    {{7}, {7}, {}},
    {{7}, {1}, {7}},
    {{33, 100}, {33, 100}, {100}},
    {{33, 100}, {33, 1}, {33, 100}},
    {{33, 100}, {33, 1}, {1, 100}},
    {{33, 100}, {1, 100}, {33, 100}},
    {{100, 3}, {100, 3}, {3}},
    {{100, 3}, {100, 1}, {100, 3}},
    {{600, 3}, {600, 1}, {3}},
    {{5, 4, 9}, {4, 9}, {5, 4, 9}},
    {{5, 4, 9}, {5, 1, 9}, {4, 1}},
    {{5, 4, 9}, {5, 4, 1}, {5, 1, 1}},
    {{17, 4, 50}, {17, 1, 50}, {4, 1}},
    {{2, 3, 2, 5}, {1, 3, 1, 5}, {2, 1, 2, 1}},
    {{3, 4}, {1, 1}, {}},
    {{0, 4}, {0, 4}, {4}},
    {{4, 0}, {4, 1}, {4, 0}},
};

TYPED_TEST(Elementwise, binary_broadcasts) {
    using T = TypeParam;
    for (const BinaryCase& op : kBinary) {
        SCOPED_TRACE(op.name);
        for (const auto& shapes : kBroadcasts) {
            std::vector<T> a = random_values<T>(size_of(shapes[1]), 1);
            std::vector<T> b = random_values<T>(size_of(shapes[2]), 2);
            for (T& v : a) v = std::round(v * T(4)) / T(4) + T(1.5);  // with ties, positive
            for (T& v : b) v = std::round(v * T(4)) / T(4) + T(1.5);
            std::vector<double> want;
            for (Index i = 0; i < size_of(shapes[0]); ++i)
                want.push_back(
                    op.f(a[source(i, shapes[1], shapes[0])], b[source(i, shapes[2], shapes[0])]));
            const auto got =
                run_all<T>(op.name, {view_of(a, shapes[1]), view_of(b, shapes[2])}, shapes[0]);
            test::expect_close(got, want, op.epsilons * std::numeric_limits<T>::epsilon());
        }
    }
}

TYPED_TEST(Elementwise, pow_of_common_exponents_does_not_depend_on_storage) {
    using T = TypeParam;
    std::vector<T> x = random_values<T>(100, 1);
    for (T& v : x) v = std::abs(v);
    for (const double e : {0.5, -1.0, 0.0, 1.0, 2.0, 3.0, 2.7}) {
        const std::vector<T> scalar = {static_cast<T>(e)}, full(100, static_cast<T>(e));
        const auto a = run_all<T>("pow", {view(x, {100}), view(scalar, {})}, {100});
        const auto b = run_all<T>("pow", {view(x, {100}), view(full, {100})}, {100});
        EXPECT_TRUE(same_bits(a, b)) << e;
        for (std::size_t i = 0; i < x.size(); ++i)
            ASSERT_NEAR(a[i], std::pow(double(x[i]), double(scalar[0])),
                        2 * std::numeric_limits<T>::epsilon() * double(a[i]));
    }
}

TYPED_TEST(Elementwise, slopes_of_powers) {
    using T = TypeParam;
    for (const auto& shapes : kBroadcasts) {
        std::vector<T> a = random_values<T>(size_of(shapes[1]), 1);
        for (T& v : a) v = std::abs(v);
        const auto b = random_values<T>(size_of(shapes[2]), 2);
        const Index n = size_of(shapes[0]);
        std::vector<T> c;
        for (Index i = 0; i < n; ++i)
            c.push_back(
                std::pow(a[source(i, shapes[1], shapes[0])], b[source(i, shapes[2], shapes[0])]));
        const std::vector<TensorView> in = {view_of(a, shapes[1]), view_of(b, shapes[2]),
                                            view_of(c, shapes[0])};
        const auto by_base = run_all<T>("pow_base_slope", in, shapes[0]);
        const auto by_exponent = run_all<T>("pow_exponent_slope", in, shapes[0]);
        for (Index i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const double x = double(a[source(i, shapes[1], shapes[0])]);
            const double y = double(b[source(i, shapes[2], shapes[0])]);
            const double slopes[2] = {y * std::pow(x, y - 1), std::pow(x, y) * std::log(x)};
            const double error = 4 * std::numeric_limits<T>::epsilon();
            ASSERT_NEAR(by_base[at], slopes[0], error * std::abs(slopes[0]));
            ASSERT_NEAR(by_exponent[at], slopes[1], error * std::abs(slopes[1]));
        }
    }
}

TYPED_TEST(Elementwise, nan_and_zero) {
    using T = TypeParam;
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const T inf = std::numeric_limits<T>::infinity();
    const std::vector<T> a = {nan, 1, nan, 1}, b = {1, nan, nan, 1};
    const auto run = [&](const char* name) {
        return run_all<T>(name, {view(a, {4}), view(b, {4})}, {4});
    };
    for (const char* name : {"maximum", "minimum"}) {
        const auto y = run(name);
        EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[2]) && y[3] == 1);
    }
    for (const char* name : {"less", "greater"}) EXPECT_EQ(run(name), (std::vector<T>{0, 0, 0, 0}));
    for (const char* name : {"less_equal", "greater_equal", "equal"})
        EXPECT_EQ(run(name), (std::vector<T>{0, 0, 0, 1}));
    EXPECT_EQ(run("not_equal"), (std::vector<T>{1, 1, 1, 0}));

    const std::vector<T> x = {T(-3), T(0), T(2), -inf, inf, nan, T(-1)};
    const auto one = [&](const char* name) { return run_all<T>(name, {view(x, {7})}, {7}); };
    auto y = one("sign");
    EXPECT_TRUE(std::isnan(y[5]));
    y[5] = 0;
    EXPECT_EQ(y, (std::vector<T>{-1, 0, 1, -1, 1, 0, -1}));
    y = one("log");
    EXPECT_TRUE(std::isnan(y[0]) && y[1] == -inf && std::isnan(y[3]) && y[4] == inf &&
                std::isnan(y[5]));
    y = one("log1p");
    EXPECT_TRUE(std::isnan(y[0]) && y[1] == 0 && y[4] == inf && std::isnan(y[5]) && y[6] == -inf);
    y = one("exp");
    EXPECT_TRUE(y[1] == 1 && y[3] == 0 && y[4] == inf && std::isnan(y[5]));
    y = one("expm1");
    EXPECT_TRUE(y[1] == 0 && y[3] == -1 && y[4] == inf && std::isnan(y[5]));
    y = one("erf");
    EXPECT_TRUE(y[1] == 0 && y[3] == -1 && y[4] == 1 && std::isnan(y[5]));
    y = one("sin");
    EXPECT_TRUE(y[1] == 0 && std::isnan(y[3]) && std::isnan(y[4]) && std::isnan(y[5]));
}

/// Quotients from below 1 to beyond what packets can do, divisors over all exponents.
TYPED_TEST(Elementwise, remainders_are_exact) {
    using T = TypeParam;
    constexpr Index n = 4096;
    const auto mantissas = random_values<T>(2 * n, 1), exponents = random_values<T>(2 * n, 2);
    const bool wide = sizeof(T) == 8;
    std::vector<T> a, b;
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        const auto exponent = [&](std::size_t at, double size) {
            return static_cast<int>(exponents[at] * T(wide ? 8 * size : size));
        };
        b.push_back(std::ldexp(mantissas[i], exponent(i, i % 2 == 0 ? 3 : 60)));
        a.push_back(std::ldexp(mantissas[i + n], exponent(i + n, i % 4 < 2 ? 10 : 60)));
        if (i % 8 == 0) a.back() = b.back() * static_cast<T>(i);  // a multiple, or nearly
    }
    const auto run = [&](const char* name) {
        return run_all<T>(name, {view(a, {n}), view(b, {n})}, {n});
    };
    const auto rest = run("fmod"), above = run("remainder"), quotient = run("floor_divide");
    for (std::size_t i = 0; i < a.size(); ++i) {
        const T expected = std::fmod(a[i], b[i]);
        const bool other = expected != 0 && (expected < 0) != (b[i] < 0);
        ASSERT_EQ(rest[i], expected) << a[i] << " by " << b[i];
        ASSERT_EQ(std::signbit(rest[i]), std::signbit(a[i]));
        ASSERT_EQ(above[i], other ? expected + b[i] : expected) << a[i] << " by " << b[i];
        ASSERT_EQ(std::signbit(above[i]), std::signbit(b[i]));
        const T whole = (a[i] - expected) / b[i] - T(other);
        ASSERT_EQ(quotient[i], std::nearbyint(whole)) << a[i] << " by " << b[i];
    }
}

TYPED_TEST(Elementwise, pairs_at_zeros_and_infinities) {
    using T = TypeParam;
    const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    std::vector<T> a, b;
    for (const T x : {T(0), T(-0.0), T(1), T(-1), inf, -inf, nan, T(3e-30), T(2e30)})
        for (const T y : {T(0), T(-0.0), T(1), T(-1), inf, -inf, nan, T(-4e-30), T(2e30)}) {
            a.push_back(x);
            b.push_back(y);
        }
    const Index n = static_cast<Index>(a.size());
    const auto expect = [&](const char* name, T (*f)(T, T)) {
        const auto y = run_all<T>(name, {view(a, {n}), view(b, {n})}, {n});
        for (std::size_t i = 0; i < a.size(); ++i) {
            const T wanted = f(a[i], b[i]);
            SCOPED_TRACE(testing::Message() << name << " of " << a[i] << " and " << b[i]);
            if (std::isnan(wanted)) {
                EXPECT_TRUE(std::isnan(y[i]));
            } else if (std::isinf(wanted) || wanted == 0) {
                EXPECT_EQ(y[i], wanted);
                EXPECT_EQ(std::signbit(y[i]), std::signbit(wanted));
            } else {
                EXPECT_NEAR(y[i] / wanted, 1, 3 * std::numeric_limits<T>::epsilon());
            }
        }
    };
    expect("atan2", [](T y, T x) { return std::atan2(y, x); });
    expect("hypot", [](T x, T y) { return std::hypot(x, y); });
    expect("fmod", [](T x, T y) { return std::fmod(x, y); });
    expect("logaddexp", [](T x, T y) {
        if (x == y) return x + std::log(T(2));
        return std::max(x, y) + std::log1p(std::exp(-std::abs(x - y)));
    });
}

TYPED_TEST(Elementwise, log2_of_powers_of_two_is_exact) {
    using T = TypeParam;
    std::vector<T> x, want;
    for (int e = std::numeric_limits<T>::min_exponent; e < std::numeric_limits<T>::max_exponent;
         ++e) {
        want.push_back(static_cast<T>(e));
        x.push_back(std::ldexp(T(1), e));
    }
    const Index n = static_cast<Index>(x.size());
    EXPECT_EQ(run_all<T>("log2", {view(x, {n})}, {n}), want);
}

TYPED_TEST(Elementwise, where_fill_cast_copy) {
    using T = TypeParam;
    for (const auto& shapes : kBroadcasts) {
        std::vector<T> c = random_values<T>(size_of(shapes[2]), 3);
        for (T& v : c) v = v > 0 ? v : T(0);
        const auto a = random_values<T>(size_of(shapes[1]), 1);
        const auto b = random_values<T>(size_of(shapes[0]), 2);
        const auto got = run_all<T>(
            "where", {view_of(c, shapes[2]), view_of(a, shapes[1]), view_of(b, shapes[0])},
            shapes[0]);
        for (Index i = 0; i < size_of(shapes[0]); ++i) {
            const auto at = static_cast<std::size_t>(i);
            const T on = a[source(i, shapes[1], shapes[0])];
            ASSERT_EQ(got[at], c[source(i, shapes[2], shapes[0])] != 0 ? on : b[at]);
        }
    }
    EXPECT_EQ(run_all<T>("fill", {}, {33}, {2.5}), std::vector<T>(33, T(2.5)));

    const auto x = random_values<T>(100, 1);
    EXPECT_EQ(run_all<T>("copy", {view(x, {10, 10})}, {4, 25}), x);
    std::vector<std::int64_t> whole(100);
    std::vector<std::uint8_t> bytes(100);
    std::vector<T> numbers(100);
    for (std::size_t i = 0; i < 100; ++i) {
        whole[i] = bytes[i] = static_cast<std::uint8_t>(2 * i);
        numbers[i] = static_cast<T>(2 * i);
    }
    EXPECT_EQ(run_all<T>("cast", {view(whole, {100})}, {100}), numbers);
    EXPECT_EQ(run_all<T>("cast", {view(bytes, {100})}, {100}), numbers);
    EXPECT_EQ(run_all<T>("cast", {view(numbers, {100})}, {100}), numbers);
}

TEST(ElementwiseChecks, refuse_what_would_read_out_of_bounds) {
    const std::vector<float> x(12);
    const std::vector<double> d(12);
    std::vector<float> y(12);
    const TensorView out = view(y, {3, 4});
    EXPECT_THROW(run_op("add", {view(x, {3, 4}), view(x, {3})}, {out}, {}), Error);
    EXPECT_THROW(run_op("add", {view(x, {1, 3, 4}), view(x, {4})}, {out}, {}), Error);
    EXPECT_THROW(run_op("add", {view(x, {3, 4}), view(d, {3, 4})}, {out}, {}), Error);
    EXPECT_THROW(run_op("exp", {view(x, {3, 3})}, {out}, {}), Error);
    EXPECT_THROW(run_op("copy", {view(x, {11})}, {out}, {}), Error);
    EXPECT_THROW(run_op("cast", {view(d, {11})}, {out}, {}), Error);
    EXPECT_THROW(run_op("where", {view(x, {2, 4}), view(x, {4}), view(x, {4})}, {out}, {}), Error);
}

}  // namespace
}  // namespace fastprop
