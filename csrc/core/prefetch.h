#pragma once
/// @file
/// @brief Asks for a cache line that will be read soon. Never faults, whatever the address.

#if defined(_MSC_VER) && defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace fastprop {

inline void prefetch_read(const void* p) {
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(p, 0, 3);
#elif defined(_MSC_VER) && defined(_M_X64)
    _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
#else
    static_cast<void>(p);
#endif
}

}  // namespace fastprop
