#include "core/level.h"

#include "core/check.h"
#include "core/packet.h"

namespace fastprop {

const char* level_name() { return FASTPROP_LEVEL; }

template <class T>
int simd_width() {
    return Simd<T>::width;
}

template int simd_width<float>();
template int simd_width<double>();

bool fuses_multiply_add() {
#if defined(__FMA__) || defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

std::string eigen_version() {
#if defined(EIGEN_PATCH_VERSION)
    // From version 5 on the number has three parts of its own; "world" stays 3.
    return concat(EIGEN_MAJOR_VERSION, '.', EIGEN_MINOR_VERSION, '.', EIGEN_PATCH_VERSION);
#else
    return concat(EIGEN_WORLD_VERSION, '.', EIGEN_MAJOR_VERSION, '.', EIGEN_MINOR_VERSION);
#endif
}

}  // namespace fastprop
