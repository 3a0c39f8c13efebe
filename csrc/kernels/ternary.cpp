#include "kernels/ternary.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/packet.h"
#include "kernels/math.h"
#include "kernels/power.h"

namespace fastprop {

namespace {

template <class T, Ternary op>
EIGEN_STRONG_INLINE Vec<T> apply(const Vec<T>& a, const Vec<T>& b, const Vec<T>& c) {
    const Vec<T> zero = Simd<T>::set(T(0)), one = Simd<T>::set(T(1));
    if constexpr (op == Ternary::where) return pk::pselect(pk::pcmp_eq(a, zero), c, b);
    const Vec<T> vanishes = pk::pand(pk::pcmp_eq(a, zero), pk::pcmp_le(zero, b));
    const Vec<T> slope = pk::pmul(c, log_packet<T>(pk::pselect(vanishes, one, a)));
    return pk::pselect(vanishes, zero, slope);
}

/// Packets of an operand; one that is the same everywhere is read once.
template <class T>
class Packets {
public:
    Packets(const T* data, Index stride)
        : data_(data), stride_(stride), first_(Simd<T>::set(*data)) {}
    Vec<T> at(Index i, Index lanes) const {
        return stride_ == 0 ? first_ : Simd<T>::load_partial(data_ + i, lanes);
    }

private:
    const T* data_;
    Index stride_;
    Vec<T> first_;
};

}  // namespace

template <class T, Ternary op>
void ternary_row(const T* a, Index a_stride, const T* b, Index b_stride, const T* c, Index c_stride,
                 T* y, Index n) {
    if (n == 0) return;
    if constexpr (std::is_integral_v<T>) {
        for (Index i = 0; i < n; ++i)
            y[i] = a[i * a_stride] != 0 ? b[i * b_stride] : c[i * c_stride];
    } else if constexpr (op == Ternary::pow_base_slope) {
        for (Index i = 0; i < n; ++i)
            y[i] = power_base_slope(a[i * a_stride], b[i * b_stride], c[i * c_stride]);
    } else {
        using S = Simd<T>;
        const Packets<T> u(a, a_stride), v(b, b_stride), w(c, c_stride);
        for (Index i = 0; i < n; i += S::width) {
            const Index lanes = std::min<Index>(n - i, S::width);
            const Vec<T> found = apply<T, op>(u.at(i, lanes), v.at(i, lanes), w.at(i, lanes));
            S::store_partial(y + i, found, lanes);
        }
    }
}

template <class T, Ternary op>
void ternary(const BroadcastPlan& plan, const T* a, const T* b, const T* c, T* y) {
    y += plan.out_offset;
    T buffer[3][kExpandedChunk];
    const Index size = plan.size();
    for (Index i = 0; i < size; i += kExpandedChunk) {
        const Index n = std::min(kExpandedChunk, size - i);
        ternary_row<T, op>(operand_chunk(plan, 0, a, i, n, buffer[0]), 1,
                           operand_chunk(plan, 1, b, i, n, buffer[1]), 1,
                           operand_chunk(plan, 2, c, i, n, buffer[2]), 1, y + i, n);
    }
}

#define FASTPROP_TERNARY(T, op)                                                                    \
    template void ternary<T, Ternary::op>(const BroadcastPlan&, const T*, const T*, const T*, T*); \
    template void ternary_row<T, Ternary::op>(const T*, Index, const T*, Index, const T*, Index,   \
                                              T*, Index);

FASTPROP_TERNARY(float, where)
FASTPROP_TERNARY(double, where)
FASTPROP_TERNARY(std::int64_t, where)
FASTPROP_TERNARY(float, pow_base_slope)
FASTPROP_TERNARY(double, pow_base_slope)
FASTPROP_TERNARY(float, pow_exponent_slope)
FASTPROP_TERNARY(double, pow_exponent_slope)

}  // namespace fastprop
