#pragma once
/// @file
/// @brief The bit patterns of packets: masks, and shifts of every lane as an unsigned integer.
///
/// Exponents are read and written through these. Eigen has no stable name for them in all versions.

#include <cstdint>
#include <cstring>

#include "core/packet.h"

namespace fastprop {

template <class T>
using Vec = typename Simd<T>::Packet;

/// Layout of an IEEE number.
template <class T>
struct FloatBits;

template <>
struct FloatBits<float> {
    using UInt = std::uint32_t;
    static constexpr int kMantissa = 23;
    static constexpr int kTotal = 32;
    static constexpr float kBias = 127.0f;
    static constexpr float kTwoToMantissa = 8388608.0f;
    /// Adding it rounds a number below 2^21 to an integer, which is then in the low bits.
    static constexpr float kRound = 12582912.0f;
    static constexpr UInt kMantissaMask = 0x007FFFFFu;
};

template <>
struct FloatBits<double> {
    using UInt = std::uint64_t;
    static constexpr int kMantissa = 52;
    static constexpr int kTotal = 64;
    static constexpr double kBias = 1023.0;
    static constexpr double kTwoToMantissa = 4503599627370496.0;
    static constexpr double kRound = 6755399441055744.0;
    static constexpr UInt kMantissaMask = 0x000FFFFFFFFFFFFFull;
};

/// The number with these bits, in every lane.
template <class T>
inline Vec<T> set_bits(typename FloatBits<T>::UInt bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return Simd<T>::set(value);
}

namespace bits_detail {

/// Serves every packet without an overload below.
template <int K, bool left, class T, class Packet>
inline Packet shift(const Packet& v, const T*) {
    using UInt = typename FloatBits<T>::UInt;
    UInt lanes[Simd<T>::width];
    static_assert(sizeof(lanes) == sizeof(Packet), "one integer a lane");
    std::memcpy(lanes, &v, sizeof(lanes));
    for (UInt& lane : lanes) lane = left ? lane << K : lane >> K;
    Packet result;
    std::memcpy(&result, lanes, sizeof(lanes));
    return result;
}

#ifdef EIGEN_VECTORIZE_SSE2
template <int K, bool left>
inline __m128 shift(const __m128& v, const float*) {
    const __m128i bits = _mm_castps_si128(v);
    return _mm_castsi128_ps(left ? _mm_slli_epi32(bits, K) : _mm_srli_epi32(bits, K));
}

template <int K, bool left>
inline __m128d shift(const __m128d& v, const double*) {
    const __m128i bits = _mm_castpd_si128(v);
    return _mm_castsi128_pd(left ? _mm_slli_epi64(bits, K) : _mm_srli_epi64(bits, K));
}
#endif

#ifdef EIGEN_VECTORIZE_AVX2
template <int K, bool left>
inline __m256 shift(const __m256& v, const float*) {
    const __m256i bits = _mm256_castps_si256(v);
    return _mm256_castsi256_ps(left ? _mm256_slli_epi32(bits, K) : _mm256_srli_epi32(bits, K));
}

template <int K, bool left>
inline __m256d shift(const __m256d& v, const double*) {
    const __m256i bits = _mm256_castpd_si256(v);
    return _mm256_castsi256_pd(left ? _mm256_slli_epi64(bits, K) : _mm256_srli_epi64(bits, K));
}
#endif

#ifdef EIGEN_VECTORIZE_AVX512
// The zero-masked forms, because the plain ones make some compilers warn of an undefined operand.
template <int K, bool left>
inline __m512 shift(const __m512& v, const float*) {
    const __m512i bits = _mm512_castps_si512(v);
    return _mm512_castsi512_ps(left ? _mm512_maskz_slli_epi32(0xFFFF, bits, K)
                                    : _mm512_maskz_srli_epi32(0xFFFF, bits, K));
}

template <int K, bool left>
inline __m512d shift(const __m512d& v, const double*) {
    const __m512i bits = _mm512_castpd_si512(v);
    return _mm512_castsi512_pd(left ? _mm512_maskz_slli_epi64(0xFF, bits, K)
                                    : _mm512_maskz_srli_epi64(0xFF, bits, K));
}
#endif

}  // namespace bits_detail

/// Every lane shifted by K bits as an unsigned integer, zeros moving in.
template <int K, class T>
inline Vec<T> shift_left(const Vec<T>& v) {
    return bits_detail::shift<K, true>(v, static_cast<const T*>(nullptr));
}

template <int K, class T>
inline Vec<T> shift_right(const Vec<T>& v) {
    return bits_detail::shift<K, false>(v, static_cast<const T*>(nullptr));
}

}  // namespace fastprop
