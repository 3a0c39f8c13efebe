#pragma once
/// @file
/// @brief How contiguous operands are read when NumPy's rules broadcast them to an output's shape.

#include "core/tensor_view.h"

namespace fastprop {

/// The output's rows as nested loops over `shape`, adjacent axes merged where every operand allows
/// it. Each operand has its own strides, 0 along an axis that it is repeated over; its innermost
/// stride is 0 or 1, since operands are contiguous.
struct BroadcastPlan {
    static constexpr int kMaxOperands = 3;

    int operands = 0;
    int rank = 0;  ///< at least 1
    Index shape[kMaxRank] = {};
    Index stride[kMaxOperands][kMaxRank] = {};
    Index offset[kMaxOperands] = {};  ///< of the first element that the rows read
    Index out_offset = 0;  ///< of the first element that the rows write; they are contiguous

    Index inner() const { return shape[rank - 1]; }
    Index inner_stride(int operand) const { return stride[operand][rank - 1]; }
    Index size() const;

    /// Whether the operand is read element by element as the output is written.
    bool is_full(int operand) const { return rank == 1 && stride[operand][0] == 1; }
};

/// Plan for rows [rows.begin, rows.end) of axis 0 of the output (of a scalar: {0, 1}).
BroadcastPlan plan_broadcast(const TensorView& out, const TensorView* in, int operands, Range rows);

/// How elements of an operand that broadcasts to `out` are read where no plan is needed: 1, one
/// after the other; 0, all the same; -1: it takes a plan, whose making costs more than 64 sums do.
inline int simple_stride(const TensorView& in, Index out_size) {
    const Index size = in.size();
    return size == out_size ? 1 : size == 1 ? 0 : -1;
}

/// Whether `in` broadcasts to the shape of `out`.
bool broadcasts_to(const TensorView& in, const TensorView& out);

/// The position in a plan's loops: an index per axis and, kept along, an offset per operand.
class BroadcastCursor {
public:
    /// At the output's `position`-th element, counted from the plan's first.
    BroadcastCursor(const BroadcastPlan& plan, Index position);

    Index offset(int operand) const { return offset_[operand]; }
    Index left_in_row() const { return plan_.inner() - index_[plan_.rank - 1]; }

    /// Forward by `count` elements, left_in_row() at most.
    void advance(Index count);

private:
    void move(int axis, Index count);

    const BroadcastPlan& plan_;
    Index index_[kMaxRank] = {};
    Index offset_[BroadcastPlan::kMaxOperands] = {};
};

/// Calls f(cursor, position, length) for every innermost row of the plan.
template <class F>
void for_each_row(const BroadcastPlan& plan, const F& f) {
    const Index size = plan.size();
    const Index inner = plan.inner();
    if (size == 0) return;
    BroadcastCursor cursor(plan, 0);
    for (Index position = 0; position < size; position += inner) {
        f(cursor, position, inner);
        cursor.advance(inner);
    }
}

/// y[0 … count) = operand's values for output elements begin, begin + 1, …; U is any type of its
/// size. Two axes are the usual case, with rows of a few elements: one that is worth a loop without
/// a cursor.
template <class U>
void expand_operand(const BroadcastPlan& plan, int operand, const U* data, Index begin, Index count,
                    U* y) {
    const Index inner = plan.inner();
    const Index stride = plan.inner_stride(operand);
    const auto write = [&](const U* from, Index length) {
        for (Index i = 0; i < length; ++i) y[i] = from[i * stride];
        y += length;
        count -= length;
    };
    BroadcastCursor cursor(plan, begin);
    if (plan.rank == 2) {
        const Index head = count < cursor.left_in_row() ? count : cursor.left_in_row();
        const U* row = data + cursor.offset(operand);
        write(row, head);
        if (count == 0) return;
        row += (head - inner) * stride;  // to the start of that row
        const Index step = plan.stride[operand][0];
        while (count > 0) write(row += step, count < inner ? count : inner);
        return;
    }
    while (count > 0) {
        const Index length = count < cursor.left_in_row() ? count : cursor.left_in_row();
        write(data + cursor.offset(operand), length);
        cursor.advance(length);
    }
}

/// Elements of an operand that are written out at a time.
constexpr Index kExpandedChunk = 512;

/// Elements begin … begin + n of an operand, in place or written out into `buffer`.
template <class T>
const T* operand_chunk(const BroadcastPlan& plan, int operand, const T* data, Index begin, Index n,
                       T* buffer) {
    if (plan.is_full(operand)) return data + plan.offset[operand] + begin;
    expand_operand(plan, operand, data, begin, n, buffer);
    return buffer;
}

}  // namespace fastprop
