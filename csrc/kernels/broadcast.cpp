#include "kernels/broadcast.h"

namespace fastprop {

namespace {

/// Stride of `in` along `axis` of an output of rank `out_rank`: 0 where it is repeated.
Index operand_stride(const TensorView& in, int out_rank, int axis) {
    const int own = axis - (out_rank - in.rank);
    if (own < 0 || in.shape[own] == 1) return 0;
    Index stride = 1;
    for (int i = own + 1; i < in.rank; ++i) stride *= in.shape[i];
    return stride;
}

/// Adds an axis inside of the plan's: merged into the last one if all operands step evenly across.
void append_axis(BroadcastPlan& plan, Index extent, const Index* strides) {
    if (extent == 1) return;
    bool merges = plan.rank > 0;
    for (int k = 0; merges && k < plan.operands; ++k)
        merges = plan.stride[k][plan.rank - 1] == strides[k] * extent;
    if (merges) {
        plan.shape[plan.rank - 1] *= extent;
    } else {
        plan.shape[plan.rank++] = extent;
    }
    for (int k = 0; k < plan.operands; ++k) plan.stride[k][plan.rank - 1] = strides[k];
}

}  // namespace

Index BroadcastPlan::size() const {
    Index n = 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
}

BroadcastPlan plan_broadcast(const TensorView& out, const TensorView* in, int operands,
                             Range rows) {
    BroadcastPlan plan;
    plan.operands = operands;
    plan.out_offset = rows.begin * out.row_size();
    Index strides[BroadcastPlan::kMaxOperands] = {};
    for (int axis = 0; axis < out.rank; ++axis) {
        for (int k = 0; k < operands; ++k) strides[k] = operand_stride(in[k], out.rank, axis);
        if (axis == 0) {
            for (int k = 0; k < operands; ++k) plan.offset[k] = rows.begin * strides[k];
        }
        append_axis(plan, axis == 0 ? rows.size() : out.shape[axis], strides);
    }
    if (plan.rank == 0) {  // a single element: one that advances by one, so that it counts as full
        plan.shape[plan.rank++] = out.rank == 0 ? rows.size() : 1;
        for (int k = 0; k < operands; ++k) plan.stride[k][0] = 1;
    }
    return plan;
}

bool broadcasts_to(const TensorView& in, const TensorView& out) {
    if (in.rank > out.rank) return false;
    for (int i = 1; i <= in.rank; ++i) {
        const Index extent = in.shape[in.rank - i];
        if (extent != 1 && extent != out.shape[out.rank - i]) return false;
    }
    return true;
}

BroadcastCursor::BroadcastCursor(const BroadcastPlan& plan, Index position) : plan_(plan) {
    for (int k = 0; k < plan.operands; ++k) offset_[k] = plan.offset[k];
    for (int axis = plan.rank - 1; axis >= 0 && position > 0; --axis) {
        move(axis, position % plan.shape[axis]);
        position /= plan.shape[axis];
    }
}

void BroadcastCursor::move(int axis, Index count) {
    index_[axis] += count;
    for (int k = 0; k < plan_.operands; ++k) offset_[k] += count * plan_.stride[k][axis];
}

void BroadcastCursor::advance(Index count) {
    int axis = plan_.rank - 1;
    move(axis, count);
    while (index_[axis] == plan_.shape[axis] && axis > 0) {
        move(axis, -index_[axis]);
        move(--axis, 1);
    }
}

}  // namespace fastprop
