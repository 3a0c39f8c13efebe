#pragma once
/// @file
/// @brief One row reduced to one number, in an order that its length alone decides.
///
/// Element i of a block of kRowBlock goes to accumulator i % n, whatever the width of a packet, and
/// the n accumulators are combined in halves: bits do not depend on the instruction-set level where
/// a multiply-add is rounded alike. Block results are combined in pairs, so the rounding error of a
/// long sum grows with the logarithm of its length.

#include <limits>

#include "core/packet.h"
#include "kernels/packet_bits.h"

namespace fastprop {

constexpr Index kRowBlock = 4096;

/// A reduction: its start, two results combined into one, a result with one more element taken in,
/// and the result of a single element. Max and min hand a NaN on.
template <class T>
struct SumOf {
    static T start() { return T(0); }
    static Vec<T> combine(const Vec<T>& a, const Vec<T>& b) { return pk::padd(a, b); }
    static T combine_scalars(T a, T b) { return a + b; }
    static Vec<T> take(const Vec<T>& total, const Vec<T>& x) { return combine(total, x); }
    static T of(T x) { return x; }
};

template <class T>
struct SumOfSquares : SumOf<T> {
    static Vec<T> take(const Vec<T>& total, const Vec<T>& x) { return pk::pmadd(x, x, total); }
    static T of(T x) { return x * x; }
};

template <class T>
struct MaxOf {
    static T start() { return -std::numeric_limits<T>::infinity(); }
    static Vec<T> combine(const Vec<T>& a, const Vec<T>& b) {
        return pk::pselect(pk::pcmp_eq(b, b), pk::pselect(pk::pcmp_lt(a, b), b, a), b);
    }
    static T combine_scalars(T a, T b) { return b == b ? (a < b ? b : a) : b; }
    static Vec<T> take(const Vec<T>& total, const Vec<T>& x) { return combine(total, x); }
    static T of(T x) { return x; }
};

template <class T>
struct MinOf {
    static T start() { return std::numeric_limits<T>::infinity(); }
    static Vec<T> combine(const Vec<T>& a, const Vec<T>& b) {
        return pk::pselect(pk::pcmp_eq(b, b), pk::pselect(pk::pcmp_lt(b, a), b, a), b);
    }
    static T combine_scalars(T a, T b) { return b == b ? (b < a ? b : a) : b; }
    static Vec<T> take(const Vec<T>& total, const Vec<T>& x) { return combine(total, x); }
    static T of(T x) { return x; }
};

/// `kLanes` accumulators in as many packets as this level needs for them.
template <class T, class Op, int kLanes>
struct Accumulators {
    static constexpr int kWidth = Simd<T>::width;
    static constexpr int kPackets = kLanes / kWidth;
    static_assert(kPackets > 0 && kLanes % kWidth == 0, "whole packets");

    Vec<T> packets[kPackets];

    Accumulators() {
        for (Vec<T>& p : packets) p = Simd<T>::set(Op::start());
    }

    void add(int k, const Vec<T>& v) { packets[k] = Op::take(packets[k], v); }

    /// f(k, at, lanes) with the accumulator and the elements of every packet of [begin, end): lanes
    /// is their number, kWidth except at the end.
    template <class F>
    static void for_packets(Index begin, Index end, const F& f) {
        Index i = begin;
        for (; i + kLanes <= end; i += kLanes) {
            for (int k = 0; k < kPackets; ++k) f(k, i + k * kWidth, Index{kWidth});
        }
        for (int k = 0; k < kPackets; ++k, i += kWidth) {
            if (i >= end) break;
            f(k, i, end - i < kWidth ? end - i : Index{kWidth});
        }
    }

    /// All of them combined, in halves.
    T total() const {
        Vec<T> v[kPackets];
        for (int k = 0; k < kPackets; ++k) v[k] = packets[k];
        for (int half = kPackets / 2; half > 0; half /= 2)
            for (int k = 0; k < half; ++k) v[k] = Op::combine(v[k], v[k + half]);
        alignas(64) T lanes[kWidth];
        pk::pstore(lanes, v[0]);
        for (int half = kWidth / 2; half > 0; half /= 2)
            for (int i = 0; i < half; ++i)
                lanes[i] = Op::combine_scalars(lanes[i], lanes[i + half]);
        return lanes[0];
    }
};

/// 128 bytes: 8 packets of SSE, 4 of AVX2, 2 of AVX-512.
template <class T>
constexpr int kRowLanes = 128 / static_cast<int>(sizeof(T));

/// Reduces load(i, lanes), the packet of elements i … i + lanes (lanes = width except at the end;
/// what the other lanes hold does not matter), for one block.
template <class T, class Op, class Load>
inline T reduce_block(Index begin, Index end, const Load& load) {
    using Sums = Accumulators<T, Op, kRowLanes<T>>;
    constexpr Index w = Simd<T>::width;
    const Vec<T> start = Simd<T>::set(Op::start());
    Sums sums;
    Sums::for_packets(begin, end, [&](int k, Index i, Index lanes) {
        const Vec<T> v = load(i, lanes);
        sums.add(k, lanes == w ? v : pk::pselect(Simd<T>::first_lanes(lanes), v, start));
    });
    return sums.total();
}

/// As reduce_block, for any number of elements.
template <class T, class Op, class Load>
inline T reduce_range(Index n, const Load& load) {
    constexpr Index w = Simd<T>::width;
    if (n < w) {  // the other accumulators would hold nothing but the start
        Accumulators<T, Op, int{w}> one;
        if (n > 0) {
            const Vec<T> start = Simd<T>::set(Op::start());
            one.add(0, pk::pselect(Simd<T>::first_lanes(n), load(0, n), start));
        }
        return one.total();
    }
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
