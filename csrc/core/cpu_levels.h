#pragma once
/// @file
/// @brief The instruction-set levels that this CPU, and the operating system on it, can run.
///
/// Header only and free of intrinsics beyond CPUID itself, so that code compiled for the baseline
/// can ask before anything of a higher level is loaded. The levels are the x86-64 psABI's.

#include <cstdint>
#include <string>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#define FASTPROP_X86_64 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace fastprop {

#if defined(FASTPROP_X86_64)

struct CpuidRegisters {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

inline CpuidRegisters cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
    CpuidRegisters r;
#if defined(_MSC_VER)
    int out[4];
    __cpuidex(out, static_cast<int>(leaf), static_cast<int>(subleaf));
    r.eax = static_cast<std::uint32_t>(out[0]);
    r.ebx = static_cast<std::uint32_t>(out[1]);
    r.ecx = static_cast<std::uint32_t>(out[2]);
    r.edx = static_cast<std::uint32_t>(out[3]);
#else
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
#endif
    return r;
}

/// XCR0: the register state that the operating system saves. Only valid if CPUID reports OSXSAVE.
inline std::uint64_t enabled_state() {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    std::uint32_t low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));  // xgetbv
    return std::uint64_t{high} << 32 | low;
#endif
}

/// 0, or the highest of the levels 2, 3 and 4.
inline int cpu_level() {
    const auto all = [](std::uint32_t value, std::uint32_t bits) { return (value & bits) == bits; };
    const auto bit = [](int i) { return std::uint32_t{1} << i; };

    const std::uint32_t highest = cpuid(0, 0).eax;
    const std::uint32_t highest_extended = cpuid(0x80000000u, 0).eax;
    if (highest < 1 || highest_extended < 0x80000001u) return 0;
    const CpuidRegisters basic = cpuid(1, 0);
    const CpuidRegisters extended = cpuid(0x80000001u, 0);

    const std::uint32_t v2_basic = bit(0) | bit(9) | bit(13) | bit(19) | bit(20) |
                                   bit(23);  // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT
    if (!all(basic.ecx, v2_basic) || !all(extended.ecx, bit(0))) return 0;  // LAHF/SAHF

    const std::uint32_t v3_basic =
        bit(12) | bit(22) | bit(27) | bit(28) | bit(29);  // FMA MOVBE OSXSAVE AVX F16C
    if (highest < 7 || !all(basic.ecx, v3_basic) || !all(extended.ecx, bit(5))) return 2;  // LZCNT
    const CpuidRegisters features = cpuid(7, 0);
    const std::uint64_t state = enabled_state();
    constexpr std::uint64_t avx_state = 0x06;  // XMM and YMM
    if (!all(features.ebx, bit(3) | bit(5) | bit(8)) || (state & avx_state) != avx_state)
        return 2;  // BMI1 AVX2 BMI2

    const std::uint32_t v4_features =
        bit(16) | bit(17) | bit(28) | bit(30) | bit(31);  // AVX512 F DQ CD BW VL
    constexpr std::uint64_t avx512_state = 0xe6;          // and masks, upper ZMM, ZMM16 to 31
    if (!all(features.ebx, v4_features) || (state & avx512_state) != avx512_state) return 3;
    return 4;
}

/// Lowest first.
inline std::vector<std::string> supported_levels() {
    std::vector<std::string> levels;
    const int highest = cpu_level();
    for (int level = 2; level <= highest; ++level) levels.push_back("v" + std::to_string(level));
    return levels;
}

#else

inline std::vector<std::string> supported_levels() { return {"generic"}; }

#endif

}  // namespace fastprop
