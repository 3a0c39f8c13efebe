#pragma once
/// @file
/// @brief Packets whose lanes are rows, or of which only the first few lanes count.

#include "core/packet.h"

namespace fastprop {

template <class T>
using PacketOf = typename Simd<T>::Packet;

/// The first `n` lanes of v, zero in the others (whose values come from padding).
template <class T>
inline PacketOf<T> keep_first(const PacketOf<T>& v, Index n) {
    return n == Simd<T>::width ? v : pk::pand(v, Simd<T>::first_lanes(n));
}

/// Lane r holds p[r * stride]; lanes from `n` on repeat lane 0, which exists.
template <class T>
inline PacketOf<T> gather_lanes(const T* p, Index stride, Index n) {
    if (n == Simd<T>::width) return pk::pgather<T, PacketOf<T>>(p, stride);
    alignas(64) T lanes[Simd<T>::width];
    for (Index r = 0; r < Simd<T>::width; ++r) lanes[r] = p[r < n ? r * stride : 0];
    return pk::pload<PacketOf<T>>(lanes);
}

/// p[r * stride] = lane r, for the first `n` lanes.
template <class T>
inline void scatter_lanes(T* p, const PacketOf<T>& v, Index stride, Index n) {
    if (n == Simd<T>::width) {
        pk::pscatter<T, PacketOf<T>>(p, v, stride);
        return;
    }
    alignas(64) T lanes[Simd<T>::width];
    pk::pstore(lanes, v);
    for (Index r = 0; r < n; ++r) p[r * stride] = lanes[r];
}

}  // namespace fastprop
