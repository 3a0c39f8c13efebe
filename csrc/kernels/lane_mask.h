#pragma once
/// @file
/// @brief Which lanes of a packet, and which elements of a row, are something: as bits of a word.

#include <cstdint>
#include <cstring>

#include "kernels/packet_bits.h"

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace fastprop {

/// Number of the lowest bit that is set; there is one.
inline int lowest_bit(std::uint64_t bits) {
#if defined(_MSC_VER) && !defined(__clang__)
    unsigned long index;
    _BitScanForward64(&index, bits);
    return static_cast<int>(index);
#else
    return __builtin_ctzll(bits);
#endif
}

inline int count_bits(std::uint64_t bits) {
#if defined(_MSC_VER) && !defined(__clang__)
    return static_cast<int>(__popcnt64(bits));
#else
    return __builtin_popcountll(bits);
#endif
}

namespace lane_detail {

/// Serves every packet without an overload below: the sign of each lane.
template <class T, class Packet>
inline unsigned signs(const Packet& v, const T*) {
    using UInt = typename FloatBits<T>::UInt;
    UInt lanes[Simd<T>::width];
    static_assert(sizeof(lanes) == sizeof(Packet), "one integer a lane");
    std::memcpy(lanes, &v, sizeof(lanes));
    unsigned bits = 0;
    for (int i = 0; i < Simd<T>::width; ++i)
        bits |= static_cast<unsigned>(lanes[i] >> (FloatBits<T>::kTotal - 1)) << i;
    return bits;
}

#ifdef EIGEN_VECTORIZE_SSE2
inline unsigned signs(const __m128& v, const float*) {
    return static_cast<unsigned>(_mm_movemask_ps(v));
}
inline unsigned signs(const __m128d& v, const double*) {
    return static_cast<unsigned>(_mm_movemask_pd(v));
}
#endif
#ifdef EIGEN_VECTORIZE_AVX
inline unsigned signs(const __m256& v, const float*) {
    return static_cast<unsigned>(_mm256_movemask_ps(v));
}
inline unsigned signs(const __m256d& v, const double*) {
    return static_cast<unsigned>(_mm256_movemask_pd(v));
}
#endif
#ifdef EIGEN_VECTORIZE_AVX512DQ
inline unsigned signs(const __m512& v, const float*) {
    return _mm512_movepi32_mask(_mm512_castps_si512(v));
}
inline unsigned signs(const __m512d& v, const double*) {
    return _mm512_movepi64_mask(_mm512_castpd_si512(v));
}
#endif

}  // namespace lane_detail

/// A bit for each lane of a mask of a comparison.
template <class T>
inline unsigned lane_mask(const Vec<T>& v) {
    return lane_detail::signs(v, static_cast<const T*>(nullptr));
}

/// A bit for each of n <= 64 elements that is not zero. NaN is not.
template <class T>
inline std::uint64_t nonzero_mask(const T* x, Index n) {
    using S = Simd<T>;
    const auto zero = S::set(T(0));
    std::uint64_t zeros = 0;
    Index i = 0;
    for (; i + S::width <= n; i += S::width)
        zeros |= std::uint64_t{lane_mask<T>(pk::pcmp_eq(S::load(x + i), zero))} << i;
    for (; i < n; ++i) zeros |= std::uint64_t{x[i] == T(0)} << i;
    return ~zeros & (~std::uint64_t{0} >> (64 - n));
}

/// Number of elements that are zero.
template <class T>
inline Index count_zeros(const T* x, Index n) {
    Index zeros = 0;
    for (Index i = 0; i < n; i += 64) {
        const Index part = n - i < 64 ? n - i : 64;
        zeros += part - count_bits(nonzero_mask(x + i, part));
    }
    return zeros;
}

}  // namespace fastprop
