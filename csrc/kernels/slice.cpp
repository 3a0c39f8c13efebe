#include "kernels/slice.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/strided.h"

namespace fastprop {

namespace {

/// The part of axis 0 that a slice does: `count` indices from `first` on.
struct Share {
    Index first;
    Index count;
};

/// Floor of a / b for positive b.
Index floor_div(Index a, Index b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

/// Indices i of [0, n) whose target start + step i lies in `rows`.
Share targets_in(Range rows, Index start, Index step, Index n) {
    Index first = 0;
    Index end = 0;
    if (step > 0) {
        first = -floor_div(start - rows.begin, step);
        end = -floor_div(start - rows.end, step);
    } else {
        first = floor_div(start - rows.end, -step) + 1;
        end = floor_div(start - rows.begin, -step) + 1;
    }
    first = std::clamp<Index>(first, 0, n);
    return {first, std::max<Index>(std::min(end, n) - first, 0)};
}

/// Copies the share of the small array's elements between it and its place in the large one.
template <class U, bool kToLarge>
void copy_strided(const TensorView& small, const TensorView& large, const SliceSpec& spec,
                  Share share) {
    if (share.count == 0 || small.size() == 0) return;
    Index small_stride[kMaxRank];
    Index large_stride[kMaxRank];
    Index s = 1;
    Index l = 1;
    for (int i = small.rank - 1; i >= 0; --i) {
        small_stride[i] = s;
        large_stride[i] = l;
        s *= small.shape[i];
        l *= large.shape[i];
    }
    Loops loops;
    Index small_at = 0;
    Index large_at = 0;
    for (int i = 0; i < small.rank; ++i) {
        const Index first = i == 0 ? share.first : 0;
        const Index extent = i == 0 ? share.count : small.shape[i];
        small_at += first * small_stride[i];
        large_at += (spec.start[i] + first * spec.step[i]) * large_stride[i];
        loops.append(extent, small_stride[i], spec.step[i] * large_stride[i]);
    }
    U* to = kToLarge ? large.as<U>() + large_at : small.as<U>() + small_at;
    const U* from = kToLarge ? small.as<U>() + small_at : large.as<U>() + large_at;
    if (loops.rank == 0) {
        *to = *from;
        return;
    }
    const int last = loops.rank - 1;
    const Index n = loops.extent[last];
    const Index to_step = kToLarge ? loops.y_step[last] : loops.x_step[last];
    const Index from_step = kToLarge ? loops.x_step[last] : loops.y_step[last];
    loops.take_out(last);
    for_each_index(loops, [&](Index in_small, Index in_large) {
        U* row_to = to + (kToLarge ? in_large : in_small);
        const U* row_from = from + (kToLarge ? in_small : in_large);
        if (to_step == 1 && from_step == 1) {
            std::copy(row_from, row_from + n, row_to);
        } else {
            for (Index i = 0; i < n; ++i) row_to[i * to_step] = row_from[i * from_step];
        }
    });
}

}  // namespace

template <class U>
void slice(const TensorView& x_view, const TensorView& y_view, const SliceSpec& spec, Range rows) {
    copy_strided<U, false>(y_view, x_view, spec, {rows.begin, rows.size()});
}

template <class U>
void place(const TensorView& x_view, const TensorView& y_view, const SliceSpec& spec, U fill,
           Range rows) {
    const Index row_size = y_view.row_size();
    U* y = y_view.as<U>();
    // What lies under x is written twice; telling it apart costs more where rows are short.
    std::fill(y + rows.begin * row_size, y + rows.end * row_size, fill);
    const Share share = x_view.rank == 0
                            ? Share{0, rows.size()}
                            : targets_in(rows, spec.start[0], spec.step[0], x_view.shape[0]);
    copy_strided<U, true>(x_view, y_view, spec, share);
}

void concatenate(const TensorView* parts, int count, const TensorView& y, int axis, Range rows) {
    if (rows.empty() || y.size() == 0) return;
    Index inner = 1;
    Index outer = 1;  // indices before the axis, in one row of y where the axis is not the first
    for (int i = axis + 1; i < y.rank; ++i) inner *= y.shape[i];
    for (int i = 1; i < axis; ++i) outer *= y.shape[i];
    const std::size_t unit = static_cast<std::size_t>(inner) * dtype_size(y.dtype);
    const auto bytes = [unit](Index n) { return static_cast<std::size_t>(n) * unit; };
    Index before = 0;
    for (int k = 0; k < count; ++k) {
        const Index extent = parts[k].shape[axis];
        const char* from = parts[k].as<char>();
        char* to = y.as<char>();
        if (axis == 0) {
            const Index first = std::max(rows.begin, before);
            const Index last = std::min(rows.end, before + extent);
            if (first < last)
                std::memcpy(to + bytes(first), from + bytes(first - before), bytes(last - first));
        } else if (extent > 0) {
            for (Index o = rows.begin * outer; o < rows.end * outer; ++o)
                std::memcpy(to + bytes(o * y.shape[axis] + before), from + bytes(o * extent),
                            bytes(extent));
        }
        before += extent;
    }
}

#define FASTPROP_SLICE(U)                                                                  \
    template void slice<U>(const TensorView&, const TensorView&, const SliceSpec&, Range); \
    template void place<U>(const TensorView&, const TensorView&, const SliceSpec&, U, Range);

FASTPROP_SLICE(std::uint8_t)
FASTPROP_SLICE(std::uint32_t)
FASTPROP_SLICE(std::uint64_t)

}  // namespace fastprop
