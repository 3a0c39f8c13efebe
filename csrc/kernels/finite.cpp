/// @file
/// @brief Data checks by exponent bits, so that they work under any floating-point mode.

#include "kernels/finite.h"

#include <algorithm>
#include <cstring>

namespace fastprop {
namespace {

template <class T>
struct Exponent;
template <>
struct Exponent<float> {
    using Bits = std::uint32_t;
    static constexpr Bits mask = 0x7F800000u;
};
template <>
struct Exponent<double> {
    using Bits = std::uint64_t;
    static constexpr Bits mask = 0x7FF0000000000000u;
};

template <class T>
bool is_finite(T value) {
    typename Exponent<T>::Bits bits;
    std::memcpy(&bits, &value, sizeof bits);
    return (bits & Exponent<T>::mask) != Exponent<T>::mask;
}

/// Index of the first block of `kBlock` with something not finite in it, or n. Within a block there
/// is no early exit, so that the loop vectorizes: the sum carries into the sign bit exactly where
/// all bits of the exponent are set.
constexpr Index kBlock = 1024;

template <class T>
Index first_bad_block(const T* values, Index n) {
    using Bits = typename Exponent<T>::Bits;
    constexpr Bits carry = (Exponent<T>::mask & (~Exponent<T>::mask + 1));
    constexpr Bits sign = static_cast<Bits>(Exponent<T>::mask + carry);
    for (Index begin = 0; begin < n; begin += kBlock) {
        const Index end = std::min(begin + kBlock, n);
        Bits found = 0;
        for (Index i = begin; i < end; ++i) {
            Bits bits;
            std::memcpy(&bits, values + i, sizeof bits);
            found |= static_cast<Bits>((bits & Exponent<T>::mask) + carry);
        }
        if ((found & sign) != 0) return begin;
    }
    return n;
}

}  // namespace

template <class T>
bool all_finite(const T* values, Index n) {
    return first_bad_block(values, n) == n;
}

template <class T>
Index first_nonfinite(const T* values, Index n) {
    const T* begin = values + first_bad_block(values, n);
    const T* found = std::find_if_not(begin, values + n, [](T value) { return is_finite(value); });
    return found == values + n ? -1 : found - values;
}

bool any_bit(const void* memory, std::size_t bytes) {
    const auto* begin = static_cast<const unsigned char*>(memory);
    constexpr std::size_t block = 4096;  // within one there is no early exit
    while (bytes > 0) {
        const std::size_t count = std::min(bytes, block);
        unsigned char found = 0;
        for (std::size_t i = 0; i < count; ++i)
            found = static_cast<unsigned char>(found | begin[i]);
        if (found != 0) return true;
        begin += count;
        bytes -= count;
    }
    return false;
}

LabelRange label_range(const std::int64_t* labels, Index n) {
    LabelRange range{labels[0], labels[0]};
    for (Index i = 1; i < n; ++i) {
        range.least = std::min(range.least, labels[i]);
        range.greatest = std::max(range.greatest, labels[i]);
    }
    return range;
}

#define FASTPROP_INSTANTIATE(T)                   \
    template bool all_finite<T>(const T*, Index); \
    template Index first_nonfinite<T>(const T*, Index);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
