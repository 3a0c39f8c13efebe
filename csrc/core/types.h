#pragma once
/// @file
/// @brief The vocabulary of sizes and element types.

#include <cstddef>
#include <cstdint>

namespace fastprop {

using Index = std::ptrdiff_t;

enum class DType : std::uint8_t { f32, f64, i32, i64, u8 };

constexpr std::size_t dtype_size(DType dtype) {
    switch (dtype) {
        case DType::f32:
        case DType::i32:
            return 4;
        case DType::f64:
        case DType::i64:
            return 8;
        case DType::u8:
            return 1;
    }
    return 0;
}

constexpr const char* dtype_name(DType dtype) {
    switch (dtype) {
        case DType::f32:
            return "float32";
        case DType::f64:
            return "float64";
        case DType::i32:
            return "int32";
        case DType::i64:
            return "int64";
        case DType::u8:
            return "uint8";
    }
    return "unknown";
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
    static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
    static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<std::int32_t> {
    static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::int64_t> {
    static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<std::uint8_t> {
    static constexpr DType value = DType::u8;
};

/// A half-open range of indices, [begin, end).
struct Range {
    Index begin = 0;
    Index end = 0;

    constexpr Index size() const { return end - begin; }
    constexpr bool empty() const { return end <= begin; }
};

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }
constexpr Index round_up(Index a, Index multiple) { return ceil_div(a, multiple) * multiple; }

}  // namespace fastprop
