#include "kernels/layout.h"

#include <algorithm>
#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/strided.h"

namespace fastprop {

namespace {

/// Edge of the square blocks in which a matrix is transposed: both sides of one stay in L1.
constexpr Index kBlock = 16;

/// y[r * y_stride + c] = x[c * x_stride + r], r < rows, c < columns.
template <class U>
void transpose_matrix(const U* x, Index x_stride, U* y, Index y_stride, Index rows, Index columns) {
    for (Index r0 = 0; r0 < rows; r0 += kBlock) {
        const Index r1 = std::min(rows, r0 + kBlock);
        for (Index c0 = 0; c0 < columns; c0 += kBlock) {
            const Index c1 = std::min(columns, c0 + kBlock);
            for (Index r = r0; r < r1; ++r) {
                for (Index c = c0; c < c1; ++c) y[r * y_stride + c] = x[c * x_stride + r];
            }
        }
    }
}

Loops output_loops(const TensorView& in, const int* permutation, Range rows) {
    Index in_stride[kMaxRank];
    Index out_stride[kMaxRank];
    Index x = 1;
    Index y = 1;
    for (int i = in.rank - 1; i >= 0; --i) {
        in_stride[i] = x;
        out_stride[i] = y;
        x *= in.shape[i];
        y *= in.shape[permutation[i]];
    }
    Loops loops;
    for (int i = 0; i < in.rank; ++i) {
        const int source = permutation[i];
        loops.append(i == 0 ? rows.size() : in.shape[source], in_stride[source], out_stride[i]);
    }
    return loops;
}

}  // namespace

template <class U>
void broadcast(const BroadcastPlan& plan, const U* x, U* y) {
    expand_operand(plan, 0, x, 0, plan.size(), y + plan.out_offset);
}

template <class U>
void transpose(const TensorView& in, const int* permutation, const U* x, U* y, Range rows) {
    if (rows.empty() || in.size() == 0) return;
    if (in.rank > 0) {
        Index outer_stride = 1;
        for (int i = permutation[0] + 1; i < in.rank; ++i) outer_stride *= in.shape[i];
        x += rows.begin * outer_stride;
        y += rows.begin * (in.size() / in.shape[permutation[0]]);
    }
    Loops loops = output_loops(in, permutation, rows);
    if (loops.rank == 0) {
        *y = *x;
        return;
    }
    const int last = loops.rank - 1;
    const Index columns = loops.extent[last];
    const Index x_stride = loops.x_step[last];
    loops.take_out(last);
    if (x_stride == 1) {  // rows stay contiguous
        for_each_index(
            loops, [&](Index from, Index to) { std::copy(x + from, x + from + columns, y + to); });
        return;
    }
    // The axis that is contiguous in x, if this slice has one, makes a matrix with y's last axis.
    Index run = 1;
    Index y_stride = 1;
    for (int i = 0; i < loops.rank; ++i) {
        if (loops.x_step[i] != 1 || i == last) continue;
        run = loops.extent[i];
        y_stride = loops.y_step[i];
        loops.take_out(i);
        break;
    }
    for_each_index(loops, [&](Index from, Index to) {
        transpose_matrix(x + from, x_stride, y + to, y_stride, run, columns);
    });
}

#define FASTPROP_LAYOUT(U)                                          \
    template void broadcast<U>(const BroadcastPlan&, const U*, U*); \
    template void transpose<U>(const TensorView&, const int*, const U*, U*, Range);

FASTPROP_LAYOUT(std::uint8_t)
FASTPROP_LAYOUT(std::uint32_t)
FASTPROP_LAYOUT(std::uint64_t)

}  // namespace fastprop
