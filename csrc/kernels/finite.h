#pragma once
/// @file
/// @brief Fast looks at user data before a run: is it finite, are the labels in range.

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace fastprop {

/// True if no element is NaN or infinite.
template <class T>
bool all_finite(const T* values, Index n);

/// Index of the first NaN or infinity, or -1.
template <class T>
Index first_nonfinite(const T* values, Index n);

/// True if some bit of so many bytes is set: minus zero has one.
bool any_bit(const void* memory, std::size_t bytes);

struct LabelRange {
    std::int64_t least;
    std::int64_t greatest;
};

/// Least and greatest of n > 0 labels.
LabelRange label_range(const std::int64_t* labels, Index n);

}  // namespace fastprop
