#pragma once
/// @file
/// @brief Nested loops over two arrays that step differently through one set of indices.

#include "core/tensor_view.h"

namespace fastprop {

/// Extents, and the step in x and in y of each; neighbours merge where both arrays allow it.
struct Loops {
    int rank = 0;
    Index extent[kMaxRank] = {};
    Index x_step[kMaxRank] = {};
    Index y_step[kMaxRank] = {};

    void append(Index size, Index x, Index y) {
        if (size == 1) return;
        if (rank > 0 && x_step[rank - 1] == x * size && y_step[rank - 1] == y * size) {
            extent[rank - 1] *= size;
        } else {
            extent[rank++] = size;
        }
        x_step[rank - 1] = x;
        y_step[rank - 1] = y;
    }

    /// Leaves an axis to the caller: at its first index here.
    void take_out(int axis) { extent[axis] = 1; }
};

/// Calls f(x offset, y offset) for every index of the loops; none of them may be empty.
template <class F>
void for_each_index(const Loops& loops, const F& f) {
    Index index[kMaxRank] = {};
    Index x = 0;
    Index y = 0;
    for (;;) {
        f(x, y);
        int axis = loops.rank - 1;
        for (; axis >= 0; --axis) {
            x += loops.x_step[axis];
            y += loops.y_step[axis];
            if (++index[axis] < loops.extent[axis]) break;
            x -= loops.x_step[axis] * loops.extent[axis];
            y -= loops.y_step[axis] * loops.extent[axis];
            index[axis] = 0;
        }
        if (axis < 0) return;
    }
}

}  // namespace fastprop
