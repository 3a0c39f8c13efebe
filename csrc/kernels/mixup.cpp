/// @file
/// @brief Shares of the Beta distribution, and batches mixed with themselves, shifted.

#include "kernels/mixup.h"

#include <algorithm>
#include <cmath>

#include "kernels/lanes.h"
#include "kernels/math.h"

namespace fastprop {
namespace {

// The library's own functions, whose results are the same on all machines.
double log_of(double x) { return pk::pfirst(log_packet<double>(Simd<double>::set(x))); }
double exp_of(double x) { return pk::pfirst(exp_packet<double>(Simd<double>::set(x))); }

/// Logarithms of numbers of the distribution Gamma(alpha, 1), one after the other.
///
/// Marsaglia & Tsang, "A simple method for generating gamma variables", ACM TOMS 26, 2000: with z
/// normal, u uniform, d = a - 1/3 and v = (1 + z / sqrt(9 d))^3, d v is taken if v > 0 and
/// log(u) < z^2 / 2 + d - d v + d log(v), which is so for 95 % and more. For alpha below 1 a is
/// alpha + 1, and the result is multiplied by u^(1 / alpha): as logarithms, since for a small alpha
/// that is often below the smallest number.
class LogGamma {
public:
    LogGamma(const RandomStream& stream, double alpha)
        : normal_(stream), uniform_(stream), alpha_(alpha) {
        uniform_.stream = stream.stream + 1;
    }

    double next() {
        const double d = (alpha_ < 1.0 ? alpha_ + 1.0 : alpha_) - 1.0 / 3.0;
        const double slope = 1.0 / std::sqrt(9.0 * d);
        for (;;) {
            double z, u[2];
            random_normal(normal_, &z, attempt_, 1, 0.0, 1.0);
            random_uniform(uniform_, u, 2 * attempt_, 2, 0.0, 1.0);
            ++attempt_;
            const double root = 1.0 + slope * z;
            const double v = root * root * root;
            if (v <= 0.0 || u[0] <= 0.0 || u[1] <= 0.0) continue;
            const double log_v = log_of(v);
            if (log_of(u[0]) >= 0.5 * z * z + d - d * v + d * log_v) continue;
            const double log_gamma = log_of(d) + log_v;
            return alpha_ < 1.0 ? log_gamma + log_of(u[1]) / alpha_ : log_gamma;
        }
    }

private:
    RandomStream normal_;
    RandomStream uniform_;
    double alpha_;
    Index attempt_ = 0;
};

}  // namespace

double mixup_share(const RandomStream& stream, double alpha) {
    LogGamma gamma(stream, alpha);
    const double a = gamma.next(), b = gamma.next();
    return 1.0 / (1.0 + exp_of(-std::abs(a - b)));
}

Index mixup_shift(const RandomStream& stream, Index rows) {
    if (rows < 2) return 0;
    RandomStream own = stream;
    own.stream += 2;  // those before are the share's
    double u;
    random_uniform(own, &u, 0, 1, 0.0, 1.0);
    const auto others = static_cast<double>(rows - 1);
    return 1 + std::min(static_cast<Index>(u * others), rows - 2);
}

template <class T>
void mix_with_shifted(const T* x, T* y, double share, Index shift, Index rows, Index row_size,
                      Index first, Index n) {
    using S = Simd<T>;
    const auto own = S::set(static_cast<T>(share));
    const auto other = S::set(static_cast<T>(1.0 - share));
    for (Index row = first; row < first + n; ++row) {
        const T* a = x + row * row_size;
        const Index partner = row + shift < rows ? row + shift : row + shift - rows;
        const T* b = x + partner * row_size;
        T* to = y + row * row_size;
        Index j = 0;
        for (; j + S::width <= row_size; j += S::width)
            S::store(to + j,
                     pk::padd(pk::pmul(own, S::load(a + j)), pk::pmul(other, S::load(b + j))));
        const Index rest = row_size - j;
        if (rest > 0)
            S::store_partial(to + j,
                             pk::padd(pk::pmul(own, S::load_partial(a + j, rest)),
                                      pk::pmul(other, S::load_partial(b + j, rest))),
                             rest);
    }
}

#define FASTPROP_INSTANTIATE(T) \
    template void mix_with_shifted<T>(const T*, T*, double, Index, Index, Index, Index, Index);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
