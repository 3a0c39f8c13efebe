#pragma once
/// @file
/// @brief What the passes of all optimizers are made of.

#include "core/packet.h"

namespace fastprop {

/// f(load, store, i) for each packet of n elements; the last one may be partial.
template <class T, class F>
inline void for_packets(Index n, const F& f) {
    using S = Simd<T>;
    using P = typename S::Packet;
    Index i = 0;
    for (; i + S::width <= n; i += S::width)
        f([](const T* p) { return S::load(p); }, [](T* p, const P& v) { S::store(p, v); }, i);
    const Index rest = n - i;
    if (rest > 0)
        f([rest](const T* p) { return S::load_partial(p, rest); },
          [rest](T* p, const P& v) { S::store_partial(p, v, rest); }, i);
}

/// A number in every lane.
template <class T>
inline typename Simd<T>::Packet lanes_of(double value) {
    return Simd<T>::set(static_cast<T>(value));
}

/// -1, 0 or 1; NaN stays NaN, so that a broken gradient is seen.
template <class T, class P>
inline P sign_of(const P& x) {
    const P zero = lanes_of<T>(0), one = lanes_of<T>(1);
    const P sign =
        pk::psub(pk::pand(pk::pcmp_lt(zero, x), one), pk::pand(pk::pcmp_lt(x, zero), one));
    return pk::pselect(pk::pcmp_eq(x, x), sign, x);
}

/// The larger one; NaN if either is (pmax loses it on some levels).
template <class P>
inline P larger_of(const P& a, const P& b) {
    return pk::pselect(pk::pcmp_eq(b, b), pk::pselect(pk::pcmp_lt(a, b), b, a), b);
}

/// The running mean: beta average + (1 - beta) x.
template <class P>
inline P moved_average(const P& beta, const P& rest, const P& average, const P& x) {
    return pk::pmadd(beta, average, pk::pmul(rest, x));
}

}  // namespace fastprop
