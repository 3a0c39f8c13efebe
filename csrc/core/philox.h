#pragma once
/// @file
/// @brief Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as
/// easy as 1, 2, 3", SC 2011).
///
/// A number depends on (seed, stream, step, index) alone, never on threads or on what was drawn
/// before, so a resumed run continues bit for bit.

#include <array>
#include <cstdint>

namespace fastprop {

using Philox4 = std::array<std::uint32_t, 4>;

inline Philox4 philox4x32(Philox4 counter, std::uint64_t seed) {
    std::uint32_t key0 = static_cast<std::uint32_t>(seed);
    std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
        const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
        counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key0,
                   static_cast<std::uint32_t>(p1),
                   static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key1,
                   static_cast<std::uint32_t>(p0)};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

/// Four words for block `index` of a stream. `stream` names the purpose (initialization, shuffling,
/// one dropout layer, …), `step` the training step or epoch.
inline Philox4 philox_block(std::uint64_t seed, std::uint32_t stream, std::uint32_t step,
                            std::uint64_t index) {
    return philox4x32(
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), step, stream},
        seed);
}

/// Uniform on [0, 1) with 24 random bits.
inline float uniform_float(std::uint32_t word) {
    return static_cast<float>(word >> 8) * (1.0f / 16777216.0f);
}

/// Uniform on [0, 1) with 53 random bits.
inline double uniform_double(std::uint32_t high, std::uint32_t low) {
    const std::uint64_t bits = (std::uint64_t{high} << 32 | low) >> 11;
    return static_cast<double>(bits) * (1.0 / 9007199254740992.0);
}

}  // namespace fastprop
