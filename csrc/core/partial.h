#pragma once
/// @file
/// @brief The first few lanes of a packet: from memory, to memory, and as a mask.
///
/// Through masked moves where the level has them. Everywhere else through an array on the stack,
/// which costs a stalled load: the bytes were written in other pieces than they are read. For
/// packet.h, which has included Eigen and with it the intrinsics.

#include <cstdint>
#include <cstring>

#include "core/types.h"

namespace fastprop {
namespace partial_detail {

/// Ones, then zeros: read from `width - n` on, it selects the first n lanes of a packet.
template <class UInt, int width>
struct LaneTable {
    alignas(64) UInt lanes[2 * width] = {};

    constexpr LaneTable() {
        for (int i = 0; i < width; ++i) lanes[i] = static_cast<UInt>(~UInt{0});
    }
};

inline constexpr LaneTable<std::uint32_t, 16> kLanes32{};
inline constexpr LaneTable<std::uint64_t, 8> kLanes64{};

inline const std::uint32_t* lane_table(const float*, Index n) { return kLanes32.lanes + 16 - n; }
inline const std::uint64_t* lane_table(const double*, Index n) { return kLanes64.lanes + 8 - n; }

template <class Packet, class T>
inline void load_first(const T* p, Index n, Packet& v) {
    alignas(64) T lanes[sizeof(Packet) / sizeof(T)] = {};
    std::memcpy(lanes, p, static_cast<std::size_t>(n) * sizeof(T));
    std::memcpy(&v, lanes, sizeof(Packet));
}

template <class Packet, class T>
inline void store_first(T* p, Index n, const Packet& v) {
    alignas(64) T lanes[sizeof(Packet) / sizeof(T)];
    std::memcpy(lanes, &v, sizeof(Packet));
    std::memcpy(p, lanes, static_cast<std::size_t>(n) * sizeof(T));
}

#if defined(EIGEN_VECTORIZE_AVX) && !defined(EIGEN_VECTORIZE_AVX512)

inline __m256i lane_mask(const void* table) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(table));
}
inline void load_first(const float* p, Index n, __m256& v) {
    v = _mm256_maskload_ps(p, lane_mask(lane_table(p, n)));
}
inline void load_first(const double* p, Index n, __m256d& v) {
    v = _mm256_maskload_pd(p, lane_mask(lane_table(p, n)));
}
inline void store_first(float* p, Index n, const __m256& v) {
    _mm256_maskstore_ps(p, lane_mask(lane_table(p, n)), v);
}
inline void store_first(double* p, Index n, const __m256d& v) {
    _mm256_maskstore_pd(p, lane_mask(lane_table(p, n)), v);
}

#elif defined(EIGEN_VECTORIZE_AVX512)

inline void load_first(const float* p, Index n, __m512& v) {
    v = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
}
inline void load_first(const double* p, Index n, __m512d& v) {
    v = _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1u), p);
}
inline void store_first(float* p, Index n, const __m512& v) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), v);
}
inline void store_first(double* p, Index n, const __m512d& v) {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1u), v);
}

#endif

}  // namespace partial_detail
}  // namespace fastprop
