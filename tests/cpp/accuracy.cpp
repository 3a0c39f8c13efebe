#include "accuracy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace fastprop::test {
namespace {

template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

template <class T>
T from_bits(std::uint64_t bits) {
    using UInt = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    const auto word = static_cast<UInt>(bits);
    T value;
    std::memcpy(&value, &word, sizeof(value));
    return value;
}

template <class T>
void evaluate(const Function& f, const T* x, T* y, Index n) {
    if constexpr (std::is_same_v<T, float>)
        f.f32(x, y, n);
    else
        f.f64(x, y, n);
}

template <class T>
Wide<T> wide(const Function& f, T x) {
    if constexpr (std::is_same_v<T, float>)
        return f.wide32(x);
    else
        return f.wide64(x);
}

/// |got - want| in ulp of T at want.
template <class T>
double ulp_between(T got, Wide<T> want, double scale) {
    const Wide<T> least = std::max(Wide<T>(std::numeric_limits<T>::min()), Wide<T>(scale));
    const Wide<T> size = std::max(std::abs(want), least);
    const Wide<T> ulp =
        std::ldexp(Wide<T>(1), std::ilogb(size) + 1 - std::numeric_limits<T>::digits);
    return static_cast<double>(std::abs(static_cast<Wide<T>>(got) - want) / ulp);
}

/// What is not a matter of rounding: NaN, infinities, the sign, and the function's range.
template <class T>
bool is_wrong(const Function& f, T got, Wide<T> want) {
    if (std::isnan(want)) return !std::isnan(got);
    if (std::isnan(got) || got < T(f.least) || got > T(f.greatest)) return true;
    const Wide<T> largest = std::numeric_limits<T>::max();
    if (std::isinf(got))
        return std::abs(want) < largest * (1 - Wide<T>(1e-6)) || (got > 0) != (want > 0);
    if (std::isinf(want)) return true;
    // A result of the other sign is one only where it is no matter of cancellation.
    return f.scale == 0 && got != 0 && want != 0 && std::signbit(got) != std::signbit(want);
}

/// Takes one comparison into `total`.
template <class T>
void compare(const Function& f, T x, T got, Wide<T> want, Accuracy& total) {
    if (is_wrong(f, got, want)) {
        if (total.wrong++ == 0) total.wrong_at = static_cast<double>(x);
        return;
    }
    if (std::isnan(want) || std::isinf(want) || std::isinf(got)) return;
    constexpr Wide<T> normal = std::numeric_limits<T>::min();
    const Wide<T> factor = std::max(Wide<T>(1), std::abs(static_cast<Wide<T>>(x)));
    if (f.flushes && std::abs(want) <= normal * factor && got == T(0)) return;
    const double error = ulp_between(got, want, f.scale);
    if (error <= total.ulp) return;
    total.ulp = error;
    total.at = static_cast<double>(x);
}

template <class T>
Accuracy sweep(const Function& f, std::vector<T> x) {
    const auto outside = [&f](T v) { return v < T(f.low) || v > T(f.high); };
    x.erase(std::remove_if(x.begin(), x.end(), outside), x.end());
    std::vector<T> y(x.size());
    evaluate(f, x.data(), y.data(), static_cast<Index>(x.size()));
    Accuracy total;
    for (std::size_t i = 0; i < x.size(); ++i) compare(f, x[i], y[i], wide(f, x[i]), total);
    return total;
}

/// Marks what is not certain to be as close as `ulp` to y_wide; the comparison fails for NaN.
void mark_doubtful(const Function& f, const float* y, const double* y_wide, double ulp,
                   unsigned char* doubtful, std::size_t n) {
    // An ulp is at least 2^-24 of the number, and the float64 kernel's own error some 2^-28 of it.
    const double limit = 0.999 * ulp / 16777216.0;
    const double least_size = std::max(f.scale, 1.1754943508222875e-38);
    const auto least = static_cast<float>(f.least), greatest = static_cast<float>(f.greatest);
    for (std::size_t i = 0; i < n; ++i) {
        const double magnitude = std::abs(y_wide[i]);
        const double size = magnitude > least_size ? magnitude : least_size;
        const bool close = std::abs(static_cast<double>(y[i]) - y_wide[i]) <= limit * size;
        doubtful[i] = !(close & (y[i] >= least) & (y[i] <= greatest));
    }
}

/// Numbers at which some kernel changes its formula, reduction or sign.
constexpr double kThresholds[] = {
    0.0,    0.17157287525, 0.34657359028, 0.41421356237, 0.5,           0.70710678119, 0.75179,
    1.0,    1.27846,       1.41421356237, 1.5,           1.5707963268,  2.0,           2.5,
    3.0,    3.1415926536,  8.0,           10.0,          15.0,          16.635532,     20.0,
    28.0,   39.0,          40.0,          87.3365,       88.0,          88.722839,     89.0,
    103.97, 104.0,         708.396,       709.0,         709.7827,      710.0,         745.133,
    746.0,  1000.0,        12000.0,       1e6,           2.41421356237, 89.415987,     710.47586007,
    1e8,    1e16};

}  // namespace

void Accuracy::merge(const Accuracy& other) {
    if (other.ulp > ulp) {
        ulp = other.ulp;
        at = other.at;
    }
    if (wrong == 0) wrong_at = other.wrong_at;
    wrong += other.wrong;
}

Accuracy sweep_patterns(const Function& f, std::uint64_t begin, std::uint64_t end,
                        std::uint64_t stride, bool screen) {
    constexpr std::size_t kBlock = 2048;
    Accuracy total;
    std::vector<float> x(kBlock), y(kBlock);
    std::vector<double> x_wide(kBlock), y_wide(kBlock);
    std::vector<unsigned char> doubtful(kBlock, 1);
    for (std::uint64_t bits = begin; bits < end;) {
        std::size_t n = 0;
        for (; bits < end && n < kBlock; bits += stride) {
            const float value = from_bits<float>(bits);
            if (!(value < static_cast<float>(f.low) || value > static_cast<float>(f.high)))
                x[n++] = value;
        }
        f.f32(x.data(), y.data(), static_cast<Index>(n));
        if (screen) {
            std::copy(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n), x_wide.begin());
            f.f64(x_wide.data(), y_wide.data(), static_cast<Index>(n));
            mark_doubtful(f, y.data(), y_wide.data(), total.ulp, doubtful.data(), n);
        }
        for (std::size_t i = 0; i < n; ++i) {
            if (doubtful[i] == 0) continue;
            if (screen && std::isnan(y[i]) && std::isnan(y_wide[i])) continue;
            compare(f, x[i], y[i], f.wide32(x[i]), total);
        }
    }
    return total;
}

template <class T>
Accuracy sweep_special(const Function& f) {
    using Limits = std::numeric_limits<T>;
    std::vector<T> x = {Limits::infinity(),   Limits::quiet_NaN(), Limits::max(), Limits::min(),
                        Limits::denorm_min(), Limits::epsilon(),   T(1e-20),      T(1e20)};
    for (const double threshold : kThresholds) {
        T below = static_cast<T>(threshold), above = below;
        x.push_back(above);
        for (int i = 0; i < 16; ++i) {
            x.push_back(below = std::nextafter(below, -Limits::infinity()));
            x.push_back(above = std::nextafter(above, Limits::infinity()));
        }
    }
    const std::size_t count = x.size();
    for (std::size_t i = 0; i < count; ++i) x.push_back(-x[i]);
    return sweep(f, x);
}

template <class T>
Accuracy sweep_random(const Function& f, int count) {
    std::vector<T> x;
    std::uint64_t state = 1;
    for (int i = 0; i < count; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const double unit = static_cast<double>(state >> 11) / 4503599627370496.0 - 1.0;
        x.push_back(from_bits<T>(sizeof(T) == 4 ? state >> 32 : state));
        for (const double size : {1.0, 30.0, 2000.0}) x.push_back(static_cast<T>(size * unit));
    }
    return sweep(f, x);
}

template Accuracy sweep_special<float>(const Function&);
template Accuracy sweep_special<double>(const Function&);
template Accuracy sweep_random<float>(const Function&, int);
template Accuracy sweep_random<double>(const Function&, int);

}  // namespace fastprop::test
