#pragma once
/// @file
/// @brief One row reduced to one number, in an order that its length alone decides.
///
/// Blocks of kRowBlock elements run through four accumulators, block results are combined in pairs,
/// so the rounding error of a long sum grows with the logarithm of its length.

#include <limits>

#include "core/packet.h"
#include "kernels/packet_bits.h"

namespace fastprop {

constexpr Index kRowBlock = 4096;

/// A reduction: its start, and two values combined into one. Max and min hand a NaN on.
template <class T>
struct SumOf {
    static T start() { return T(0); }
    static Vec<T> combine(const Vec<T>& a, const Vec<T>& b) { return pk::padd(a, b); }
    static T combine_scalars(T a, T b) { return a + b; }
};

template <class T>
struct MaxOf {
    static T start() { return -std::numeric_limits<T>::infinity(); }
    static Vec<T> combine(const Vec<T>& a, const Vec<T>& b) {
        return pk::pselect(pk::pcmp_eq(b, b), pk::pselect(pk::pcmp_lt(a, b), b, a), b);
    }
    static T combine_scalars(T a, T b) { return b == b ? (a < b ? b : a) : b; }
};

template <class T>
struct MinOf {
    static T start() { return std::numeric_limits<T>::infinity(); }
    static Vec<T> combine(const Vec<T>& a, const Vec<T>& b) {
        return pk::pselect(pk::pcmp_eq(b, b), pk::pselect(pk::pcmp_lt(b, a), b, a), b);
    }
    static T combine_scalars(T a, T b) { return b == b ? (b < a ? b : a) : b; }
};

/// Lanes combined in halves.
template <class T, class Op>
inline T reduce_lanes(const Vec<T>& v) {
    using S = Simd<T>;
    alignas(64) T lanes[S::width];
    pk::pstore(lanes, v);
    for (int half = S::width / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; ++i) lanes[i] = Op::combine_scalars(lanes[i], lanes[i + half]);
    }
    return lanes[0];
}

/// Reduces load(i, lanes), the packet of elements i … i + lanes (lanes = width except at the end;
/// what the other lanes hold does not matter), for one block.
template <class T, class Op, class Load>
inline T reduce_block(Index begin, Index end, const Load& load) {
    constexpr Index w = Simd<T>::width;
    const Vec<T> start = Simd<T>::set(Op::start());
    Vec<T> sum[4] = {start, start, start, start};
    Index i = begin;
    for (; i + 4 * w <= end; i += 4 * w) {
        for (int k = 0; k < 4; ++k) sum[k] = Op::combine(sum[k], load(i + k * w, w));
    }
    for (; i + w <= end; i += w) sum[0] = Op::combine(sum[0], load(i, w));
    if (i < end) {
        const Vec<T> rest = pk::pselect(Simd<T>::first_lanes(end - i), load(i, end - i), start);
        sum[1] = Op::combine(sum[1], rest);
    }
    return reduce_lanes<T, Op>(
        Op::combine(Op::combine(sum[0], sum[1]), Op::combine(sum[2], sum[3])));
}

/// As reduce_block, for any number of elements.
template <class T, class Op, class Load>
inline T reduce_range(Index n, const Load& load) {
    // results[i] covers a power of two of blocks, fewer than results[i - 1] does: a binary counter.
    T results[64];
    int depth = 0;
    for (Index block = 0; block == 0 || block * kRowBlock < n; ++block) {
        const Index begin = block * kRowBlock;
        T result = reduce_block<T, Op>(begin, n < begin + kRowBlock ? n : begin + kRowBlock, load);
        for (Index bits = block; (bits & 1) != 0; bits >>= 1)
            result = Op::combine_scalars(results[--depth], result);
        results[depth++] = result;
    }
    T total = results[--depth];
    while (depth > 0) total = Op::combine_scalars(results[--depth], total);
    return total;
}

/// The row x[0 … n) reduced.
template <class T, class Op>
inline T reduce_row(const T* x, Index n) {
    return reduce_range<T, Op>(
        n, [x](Index i, Index lanes) { return Simd<T>::load_partial(x + i, lanes); });
}

template <class T>
inline T row_sum(const T* x, Index n) {
    return reduce_row<T, SumOf<T>>(x, n);
}

template <class T>
inline T row_max(const T* x, Index n) {
    return reduce_row<T, MaxOf<T>>(x, n);
}

/// Sum of a[i] * b[i].
template <class T>
inline T row_dot(const T* a, const T* b, Index n) {
    return reduce_range<T, SumOf<T>>(n, [a, b](Index i, Index lanes) {
        return pk::pmul(Simd<T>::load_partial(a + i, lanes), Simd<T>::load_partial(b + i, lanes));
    });
}

}  // namespace fastprop
