#pragma once
/// @file
/// @brief Several Philox blocks side by side, in vector registers where the level has a 32 x 32 ->
/// 64 bit multiplication for them. The words are those of core/philox.h.

#include <cstdint>

#include "core/philox.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace fastprop {

constexpr int kPhiloxBlocks = 8;
constexpr int kPhiloxWords = 4 * kPhiloxBlocks;

#if defined(__AVX2__)

/// The words of blocks first … first + 7 of a stream. Each 64-bit lane keeps a word in its low half
/// and anything in the other, which the multiplication ignores: 0.7 ns a word instead of 2.4.
inline void philox_batch(std::uint64_t seed, std::uint32_t stream, std::uint32_t step,
                         std::uint64_t first, std::uint32_t* words) {
    constexpr int kVectors = kPhiloxBlocks / 4;
    const auto set = [](std::uint64_t value) {
        return _mm256_set1_epi64x(static_cast<long long>(value));
    };
    const __m256i factor0 = set(0xD2511F53u), factor2 = set(0xCD9E8D57u);
    __m256i c0[kVectors], c1[kVectors], c2[kVectors], c3[kVectors];
    for (int v = 0; v < kVectors; ++v) {
        c0[v] = _mm256_add_epi64(set(first + 4u * static_cast<unsigned>(v)),
                                 _mm256_set_epi64x(3, 2, 1, 0));
        c1[v] = _mm256_srli_epi64(c0[v], 32);
        c2[v] = set(step);
        c3[v] = set(stream);
    }
    std::uint32_t key0 = static_cast<std::uint32_t>(seed);
    std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        for (int v = 0; v < kVectors; ++v) {
            const __m256i p0 = _mm256_mul_epu32(c0[v], factor0);
            const __m256i p1 = _mm256_mul_epu32(c2[v], factor2);
            c0[v] = _mm256_xor_si256(_mm256_srli_epi64(p1, 32), _mm256_xor_si256(c1[v], set(key0)));
            c1[v] = p1;
            c2[v] = _mm256_xor_si256(_mm256_srli_epi64(p0, 32), _mm256_xor_si256(c3[v], set(key1)));
            c3[v] = p0;
        }
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    for (int v = 0; v < kVectors; ++v) {
        constexpr int kOddWords = 0xAA;
        const __m256i low = _mm256_blend_epi32(c0[v], _mm256_slli_epi64(c1[v], 32), kOddWords);
        const __m256i high = _mm256_blend_epi32(c2[v], _mm256_slli_epi64(c3[v], 32), kOddWords);
        const __m256i even = _mm256_unpacklo_epi64(low, high);  // blocks 0 and 2
        const __m256i odd = _mm256_unpackhi_epi64(low, high);   // blocks 1 and 3
        __m256i* to = reinterpret_cast<__m256i*>(words + 16 * v);
        _mm256_storeu_si256(to, _mm256_permute2x128_si256(even, odd, 0x20));
        _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(even, odd, 0x31));
    }
}

#else

inline void philox_batch(std::uint64_t seed, std::uint32_t stream, std::uint32_t step,
                         std::uint64_t first, std::uint32_t* words) {
    for (int b = 0; b < kPhiloxBlocks; ++b) {
        const Philox4 block =
            philox_block(seed, stream, step, first + static_cast<std::uint64_t>(b));
        for (std::uint32_t word : block) *words++ = word;
    }
}

#endif

}  // namespace fastprop
