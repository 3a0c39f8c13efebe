#pragma once
/// @file
/// @brief Regular parts of an array: read (slice), put into a larger one (place), joined
/// (concatenate). U is any type of the element's size; its bits are copied.

#include "core/tensor_view.h"
#include "core/types.h"

namespace fastprop {

/// Of every axis the indices start, start + step, …; a step may be negative.
struct SliceSpec {
    Index start[kMaxRank] = {};
    Index step[kMaxRank] = {};
};

/// y[i] = x[start + step i], for the rows [rows.begin, rows.end) of axis 0 of y.
template <class U>
void slice(const TensorView& x_view, const TensorView& y_view, const SliceSpec& spec, Range rows);

/// y[start + step i] = x[i], everything else `fill`, for these rows of axis 0 of y.
template <class U>
void place(const TensorView& x_view, const TensorView& y_view, const SliceSpec& spec, U fill,
           Range rows);

/// y = the parts one after another along `axis`, as bytes, for these rows of axis 0 of y.
void concatenate(const TensorView* parts, int count, const TensorView& y, int axis, Range rows);

}  // namespace fastprop
