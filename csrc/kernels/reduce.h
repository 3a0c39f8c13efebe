#pragma once
/// @file
/// @brief Sums, means and extremes over any set of axes.

#include "core/tensor_view.h"
#include "core/types.h"

namespace fastprop {

enum class Reduction { sum, mean, max, min, sum_squares };

/// The axes of a contiguous array, grouped for a reduction: neighbours that are both kept or both
/// reduced are one group, axes of extent 1 are none, so that groups alternate. The order of
/// summation depends on the groups' extents alone.
struct ReductionPlan {
    struct Group {
        Index extent;
        Index stride;
        bool reduced;
    };

    Group groups[kMaxRank] = {};
    int count = 0;
    Index kept = 1;     ///< elements of the output that this plan computes
    Index reduced = 1;  ///< inputs of each
    Index in_offset = 0;
    Index out_offset = 0;
};

/// Plan to reduce `in` over the axes whose bits are set in `axes`. Of the output only `rows` of its
/// axis 0 are computed, of the `out_rows` that it has: all of it where that axis is itself reduced.
ReductionPlan plan_reduction(const TensorView& in, unsigned axes, Index out_rows, Range rows);

/// y[out_offset …) = x reduced. Max and min hand NaN on. Over nothing: sums 0, mean NaN, max -inf,
/// min inf.
template <class T>
void reduce(Reduction op, const ReductionPlan& plan, const T* x, T* y);

/// The same for integers, which wrap around; not for means and sums of squares. Over nothing: sum
/// 0, max the smallest and min the largest integer.
void reduce_integer(Reduction op, const ReductionPlan& plan, const std::int64_t* x,
                    std::int64_t* y);

/// y[c] = sum over r of x[r * stride + c] for c < columns: rows in order, in blocks of
/// kColumnBlock whose sums are added in order. On top of what is in y if `accumulate`.
template <class T>
void column_sums(const T* x, Index stride, T* y, Index rows, Index columns,
                 bool accumulate = false);

constexpr Index kColumnBlock = 256;

/// y[r] = index of the largest of row r's n elements, the first of several; a NaN is the largest.
template <class T>
void argmax_rows(const T* x, std::int64_t* y, Index rows, Index n);
void argmax_rows(const std::int64_t* x, std::int64_t* y, Index rows, Index n);

}  // namespace fastprop
