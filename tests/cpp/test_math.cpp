// The packet functions against the C++ library in a wider type: largest error in units in the last
// place, limits, NaN, and that a lane's result does not depend on its neighbours.
// FASTPROP_EXHAUSTIVE=1 takes every float (minutes) instead of every 9973rd.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/erf.h"
#include "kernels/hyperbolic.h"
#include "kernels/inverse_trigonometry.h"
#include "kernels/math.h"

namespace fastprop {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

template <class T>
double error_in_ulp(T got, Wide<T> want) {
    const Wide<T> size = std::max(std::abs(want), Wide<T>(std::numeric_limits<T>::min()));
    int exponent = 0;
    std::frexp(size, &exponent);
    const Wide<T> ulp = std::ldexp(Wide<T>(1), exponent - std::numeric_limits<T>::digits);
    return static_cast<double>(std::abs(static_cast<Wide<T>>(got) - want) / ulp);
}

/// The arguments of a sweep: float bit patterns at a stride, or doubles spread over all exponents
/// and over the interval where the functions are not trivial.
template <class T>
std::vector<T> arguments() {
    std::vector<T> all;
    if constexpr (std::is_same_v<T, float>) {
        for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 9973) {
            const auto word = static_cast<std::uint32_t>(bits);
            float value;
            std::memcpy(&value, &word, sizeof(value));
            all.push_back(value);
        }
    } else {
        std::uint64_t state = 1;
        for (int i = 0; i < 200000; ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            double value;
            std::memcpy(&value, &state, sizeof(value));
            const double unit = static_cast<double>(state >> 11) / 4503599627370496.0 - 1.0;
            all.push_back(value);
            all.push_back(unit);
            all.push_back(30.0 * unit);
            all.push_back(2000.0 * unit);
        }
    }
    return all;
}

bool exhaustive() { return std::getenv("FASTPROP_EXHAUSTIVE") != nullptr; }

template <class T, class F, class Reference>
class Sweep {
public:
    Sweep(F f, Reference reference, bool normal_only)
        : f_(f), reference_(reference), normal_only_(normal_only) {}

    double largest_error() {
        if (exhaustive() && std::is_same_v<T, float>) {
            for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); ++bits) {
                const auto word = static_cast<std::uint32_t>(bits);
                T value{};
                std::memcpy(&value, &word, sizeof(word));
                take(value);
            }
        } else {
            for (const T value : arguments<T>()) take(value);
        }
        return largest_;
    }

private:
    void take(T value) {
        lanes_[count_++] = value;
        if (count_ < Simd<T>::width) return;
        count_ = 0;
        T results[Simd<T>::width];
        Simd<T>::store(results, f_(Simd<T>::load(lanes_)));
        for (int i = 0; i < Simd<T>::width; ++i) compare(lanes_[i], results[i]);
    }

    void compare(T x, T got) {
        const Wide<T> want = reference_(x);
        const T rounded = static_cast<T>(want);
        if (std::isnan(rounded) || std::isinf(rounded) || std::isinf(got)) {
            const bool same = std::isnan(rounded) ? std::isnan(got) : got == rounded;
            if (!same && std::abs(want) < Wide<T>(std::numeric_limits<T>::max()) * (1 - 1e-6))
                largest_ = 1e9;
            if (std::isnan(rounded) != std::isnan(got)) largest_ = 1e9;
            return;
        }
        if (normal_only_ && std::abs(want) < Wide<T>(std::numeric_limits<T>::min())) return;
        const double error = error_in_ulp(got, want);
        if (!(error <= largest_)) largest_ = error;
    }

    F f_;
    Reference reference_;
    bool normal_only_;
    T lanes_[Simd<T>::width] = {};
    int count_ = 0;
    double largest_ = 0;
};

template <class T, class F, class Reference>
void expect_error(const char* name, double bound, F f, Reference reference,
                  bool normal_only = false) {
    const double largest = Sweep<T, F, Reference>(f, reference, normal_only).largest_error();
    ::testing::Test::RecordProperty(name, std::to_string(largest));
    if (exhaustive()) std::printf("    %-10s %.2f ulp\n", name, largest);
    EXPECT_LE(largest, bound) << name;
}

template <class T>
class Math : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Math, Types);

TYPED_TEST(Math, exponentials) {
    using T = TypeParam;
    using P = Vec<T>;
    using W = Wide<T>;
    expect_error<T>(
        "exp", 1.2, [](P x) { return exp_packet<T>(x); }, [](T x) { return std::exp(W(x)); });
    expect_error<T>(
        "expm1", 2.7, [](P x) { return expm1_packet<T>(x); }, [](T x) { return std::expm1(W(x)); });
    expect_error<T>(
        "tanh", 3.0, [](P x) { return tanh_packet<T>(x); }, [](T x) { return std::tanh(W(x)); });
    expect_error<T>(
        "sigmoid", 2.3, [](P x) { return sigmoid_packet<T>(x); },
        [](T x) { return 1 / (1 + std::exp(-W(x))); }, true);
}

TYPED_TEST(Math, logarithms) {
    using T = TypeParam;
    using P = Vec<T>;
    using W = Wide<T>;
    expect_error<T>(
        "log", 0.9, [](P x) { return log_packet<T>(x); }, [](T x) { return std::log(W(x)); });
    expect_error<T>(
        "log1p", 1.6, [](P x) { return log1p_packet<T>(x); }, [](T x) { return std::log1p(W(x)); });
    expect_error<T>(
        "softplus", 3.0, [](P x) { return softplus_packet<T>(x); },
        [](T x) { return std::log1p(std::exp(-std::abs(W(x)))) + (x < 0 ? W(0) : W(x)); }, true);
}

TYPED_TEST(Math, normal_distribution) {
    using T = TypeParam;
    using P = Vec<T>;
    using W = Wide<T>;
    expect_error<T>(
        "erf", 1.6, [](P x) { return erf_packet<T>(x); }, [](T x) { return std::erf(W(x)); });
    expect_error<T>(
        "normal_cdf", 7.0, [](P x) { return Normal<T>(x).cdf; },
        [](T x) { return std::erfc(-W(x) / std::sqrt(W(2))) / 2; }, true);
}

TYPED_TEST(Math, trigonometry) {
    using T = TypeParam;
    using P = Vec<T>;
    using W = Wide<T>;
    expect_error<T>(
        "sin", 2.6, [](P x) { return sin_packet<T>(x); }, [](T x) { return std::sin(W(x)); });
    expect_error<T>(
        "cos", 2.6, [](P x) { return cos_packet<T>(x); }, [](T x) { return std::cos(W(x)); });
}

TYPED_TEST(Math, inverse_trigonometry) {
    using T = TypeParam;
    using P = Vec<T>;
    using W = Wide<T>;
    expect_error<T>(
        "tan", 3.4, [](P x) { return tan_packet<T>(x); }, [](T x) { return std::tan(W(x)); });
    expect_error<T>(
        "asin", 2.4, [](P x) { return asin_packet<T>(x); }, [](T x) { return std::asin(W(x)); });
    expect_error<T>(
        "acos", 1.3, [](P x) { return acos_packet<T>(x); }, [](T x) { return std::acos(W(x)); });
    expect_error<T>(
        "atan", 2.2, [](P x) { return atan_packet<T>(x); }, [](T x) { return std::atan(W(x)); });
}

TYPED_TEST(Math, hyperbolic) {
    using T = TypeParam;
    using P = Vec<T>;
    using W = Wide<T>;
    expect_error<T>(
        "sinh", 1.8, [](P x) { return sinh_packet<T>(x); }, [](T x) { return std::sinh(W(x)); });
    expect_error<T>(
        "cosh", 1.6, [](P x) { return cosh_packet<T>(x); }, [](T x) { return std::cosh(W(x)); });
    expect_error<T>(
        "asinh", 2.1, [](P x) { return asinh_packet<T>(x); }, [](T x) { return std::asinh(W(x)); });
    expect_error<T>(
        "acosh", 2.2, [](P x) { return acosh_packet<T>(x); }, [](T x) { return std::acosh(W(x)); });
    expect_error<T>(
        "atanh", 2.2, [](P x) { return atanh_packet<T>(x); }, [](T x) { return std::atanh(W(x)); });
}

TYPED_TEST(Math, lanes_do_not_depend_on_their_neighbours) {
    using T = TypeParam;
    using S = Simd<T>;
    const T inf = std::numeric_limits<T>::infinity();
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const T values[] = {T(0.3), T(-2), T(1e-30), T(5e7), inf, nan, T(-700), T(1)};
    for (const T value : values) {
        T alone[S::width];
        S::store(alone, sin_packet<T>(S::set(value)));
        for (const T other : values) {
            T lanes[S::width];
            for (int i = 0; i < S::width; ++i) lanes[i] = i % 2 == 0 ? value : other;
            S::store(lanes, sin_packet<T>(S::load(lanes)));
            EXPECT_EQ(0, std::memcmp(&lanes[0], &alone[0], sizeof(T))) << value << " by " << other;
        }
    }
}

}  // namespace
}  // namespace fastprop
