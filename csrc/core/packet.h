#pragma once
/// @file
/// @brief The vector register of this instruction-set level, on Eigen's packet operations.
///
/// Body and tail of every loop go through the same packet code (a tail is loaded into a padded
/// packet), so an element's bits never depend on where a slice starts or ends.

#if !defined(FASTPROP_LEVEL)
#error "This source is compiled once for all levels (CMakeLists.txt): it may not use packets."
#endif

#include <Eigen/Core>
#include <algorithm>
#include <cstring>

#include "core/partial.h"
#include "core/types.h"

#if EIGEN_FAST_MATH
#error "Square roots of floats would be an estimate and one Newton step: see cmake/eigen.cmake."
#endif

namespace fastprop {

namespace pk = Eigen::internal;

#if defined(FASTPROP_HALF_PACKETS)
// For a test: results must not depend on the width (cmake/tests.cmake).
template <class T>
using NativePacket = typename pk::unpacket_traits<typename pk::packet_traits<T>::type>::half;
#else
template <class T>
using NativePacket = typename pk::packet_traits<T>::type;
#endif

template <class T>
struct Simd {
    using Packet = NativePacket<T>;
    static constexpr int width = static_cast<int>(pk::unpacket_traits<Packet>::size);

    static Packet load(const T* p) { return pk::ploadu<Packet>(p); }
    static void store(T* p, const Packet& v) { pk::pstoreu(p, v); }
    static Packet set(T value) { return pk::pset1<Packet>(value); }

    /// The first `n` elements, 0 < n <= width; the other lanes hold zero.
    static Packet load_partial(const T* p, Index n) {
        if (n == width) return load(p);
        Packet v;
        partial_detail::load_first(p, n, v);
        return v;
    }

    static void store_partial(T* p, const Packet& v, Index n) {
        if (n == width) {
            store(p, v);
        } else {
            partial_detail::store_first(p, n, v);
        }
    }

    /// Ones in the first `n` lanes, for pselect and pand.
    static Packet first_lanes(Index n) {
        Packet v;
        std::memcpy(&v, partial_detail::lane_table(static_cast<const T*>(nullptr), n), sizeof(v));
        return v;
    }
};

/// y[i] = f(x[i]) on packets.
template <class T, class F>
inline void map_packets(const T* x, T* y, Index n, const F& f) {
    using S = Simd<T>;
    Index i = 0;
    for (; i + S::width <= n; i += S::width) S::store(y + i, f(S::load(x + i)));
    if (i < n) S::store_partial(y + i, f(S::load_partial(x + i, n - i)), n - i);
}

/// y[i] = f(a[i], b[i]) on packets.
template <class T, class F>
inline void map_packets(const T* a, const T* b, T* y, Index n, const F& f) {
    using S = Simd<T>;
    Index i = 0;
    for (; i + S::width <= n; i += S::width) S::store(y + i, f(S::load(a + i), S::load(b + i)));
    if (i < n) {
        const Index rest = n - i;
        S::store_partial(y + i, f(S::load_partial(a + i, rest), S::load_partial(b + i, rest)),
                         rest);
    }
}

}  // namespace fastprop
