#include "kernels/reduce.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/row_reduce.h"

namespace fastprop {

namespace {

void append_group(ReductionPlan& plan, Index extent, bool reduced) {
    if (extent == 1) return;
    if (plan.count > 0 && plan.groups[plan.count - 1].reduced == reduced) {
        plan.groups[plan.count - 1].extent *= extent;
    } else {
        plan.groups[plan.count++] = {extent, 1, reduced};
    }
}

/// Restricts the outermost kept group to a share of its first axis, `rows` of `out_rows`.
void take_rows(ReductionPlan& plan, Index out_rows, Range rows) {
    for (int g = 0; g < plan.count; ++g) {
        ReductionPlan::Group& group = plan.groups[g];
        if (group.reduced) continue;
        const Index inside = group.extent / out_rows;
        plan.in_offset = rows.begin * inside * group.stride;
        plan.out_offset = rows.begin * (plan.kept / out_rows);
        plan.kept = plan.kept / out_rows * rows.size();
        group.extent = rows.size() * inside;
        return;
    }
}

/// A position in some groups of a plan, those that are reduced or those that are kept.
class Walk {
public:
    Walk(const ReductionPlan& plan, int groups, bool reduced) {
        for (int g = 0; g < groups; ++g) {
            if (plan.groups[g].reduced == reduced) groups_[count_++] = plan.groups[g];
        }
    }

    Index offset() const { return offset_; }

    /// False at the end, where it starts over.
    bool next() {
        for (int g = count_ - 1; g >= 0; --g) {
            offset_ += groups_[g].stride;
            if (++index_[g] < groups_[g].extent) return true;
            offset_ -= groups_[g].stride * groups_[g].extent;
            index_[g] = 0;
        }
        return false;
    }

    /// Gives up the innermost group, for the caller to run through.
    ReductionPlan::Group take_innermost() { return groups_[--count_]; }

private:
    ReductionPlan::Group groups_[kMaxRank] = {};
    Index index_[kMaxRank] = {};
    int count_ = 0;
    Index offset_ = 0;
};

/// Rows from which a whole packet may be read although only `lanes` columns are left: the reading
/// goes on into the next row, so the last rows are not among them.
Index rows_with_room(Index rows, Index stride, Index lanes, Index width) {
    const Index last = (rows - 1) * stride + lanes - width;  // largest safe offset of a row
    return last < 0 ? 0 : std::min(rows, last / stride + 1);
}

/// y[c] = op of rows, in order, of `packets` packets of columns; `partial`: of the first `lanes`
/// columns of one. On top of what is in y if `accumulate`.
template <class T, class Op, int packets, bool partial>
void reduce_columns(const T* x, Index stride, T* y, Index rows, Index lanes, bool accumulate) {
    using S = Simd<T>;
    constexpr Index w = S::width;
    const Index whole = partial ? rows_with_room(rows, stride, lanes, w) : rows;
    Vec<T> total[packets];
    for (int k = 0; k < packets; ++k) {
        total[k] = S::set(Op::start());
        if (accumulate) total[k] = partial ? S::load_partial(y, lanes) : S::load(y + k * w);
    }
    for (Index r = 0; r < rows;) {
        const Index end = std::min(rows, r + kColumnBlock);
        Vec<T> sum[packets];
        for (int k = 0; k < packets; ++k) sum[k] = S::set(Op::start());
        for (; r < std::min(end, whole); ++r) {
            for (int k = 0; k < packets; ++k)
                sum[k] = Op::take(sum[k], S::load(x + r * stride + k * w));
        }
        for (; r < end; ++r) sum[0] = Op::take(sum[0], S::load_partial(x + r * stride, lanes));
        for (int k = 0; k < packets; ++k) total[k] = Op::combine(total[k], sum[k]);
    }
    for (int k = 0; k < packets; ++k) S::store_partial(y + k * w, total[k], partial ? lanes : w);
}

/// y[c] = op over rows of x[r * stride + c], on top of what is in y if `accumulate`.
template <class T, class Op>
void reduce_all_columns(const T* x, Index stride, T* y, Index rows, Index columns,
                        bool accumulate) {
    constexpr Index w = Simd<T>::width;
    Index c = 0;
    for (; c + 4 * w <= columns; c += 4 * w)
        reduce_columns<T, Op, 4, false>(x + c, stride, y + c, rows, w, accumulate);
    for (; c + w <= columns; c += w)
        reduce_columns<T, Op, 1, false>(x + c, stride, y + c, rows, w, accumulate);
    if (c < columns)
        reduce_columns<T, Op, 1, true>(x + c, stride, y + c, rows, columns - c, accumulate);
}

/// The innermost group is reduced: contiguous rows.
template <class T, class Op>
void reduce_inner(const ReductionPlan& plan, const T* x, T* y) {
    const Index n = plan.groups[plan.count - 1].extent;
    Walk kept(plan, plan.count - 1, false);
    Walk reduced(plan, plan.count - 1, true);
    do {
        T total = Op::start();
        do {
            const T row = reduce_row<T, Op>(x + kept.offset() + reduced.offset(), n);
            total = Op::combine_scalars(total, row);
        } while (reduced.next());
        *y++ = total;
    } while (kept.next());
}

/// The innermost group is kept, the one around it reduced: columns.
template <class T, class Op>
void reduce_outer(const ReductionPlan& plan, const T* x, T* y) {
    const Index columns = plan.groups[plan.count - 1].extent;
    Walk kept(plan, plan.count - 1, false);
    Walk reduced(plan, plan.count - 1, true);
    const ReductionPlan::Group rows = reduced.take_innermost();
    do {
        bool accumulate = false;
        do {
            reduce_all_columns<T, Op>(x + kept.offset() + reduced.offset(), rows.stride, y,
                                      rows.extent, columns, accumulate);
            accumulate = true;
        } while (reduced.next());
        y += columns;
    } while (kept.next());
}

template <class T, class Op>
void reduce_with(const ReductionPlan& plan, const T* x, T* y) {
    if (plan.reduced == 0) {
        std::fill(y, y + plan.kept, Op::start());
    } else if (plan.count == 0 || (plan.count == 1 && !plan.groups[0].reduced)) {
        std::transform(x, x + plan.kept, y, Op::of);
    } else if (plan.groups[plan.count - 1].reduced) {
        reduce_inner<T, Op>(plan, x, y);
    } else {
        reduce_outer<T, Op>(plan, x, y);
    }
}

}  // namespace

ReductionPlan plan_reduction(const TensorView& in, unsigned axes, Index out_rows, Range rows) {
    ReductionPlan plan;
    for (int axis = 0; axis < in.rank; ++axis) {
        const bool reduced = (axes >> axis & 1u) != 0;
        (reduced ? plan.reduced : plan.kept) *= in.shape[axis];
        append_group(plan, in.shape[axis], reduced);
    }
    Index stride = 1;
    for (int g = plan.count - 1; g >= 0; --g) {
        plan.groups[g].stride = stride;
        stride *= plan.groups[g].extent;
    }
    if (rows.empty() || plan.kept == 0) {
        plan.kept = 0;
    } else if (out_rows > 1) {
        take_rows(plan, out_rows, rows);
    }
    return plan;
}

template <class T>
void reduce(Reduction op, const ReductionPlan& plan, const T* x, T* y) {
    if (plan.kept == 0) return;
    x += plan.in_offset;
    y += plan.out_offset;
    switch (op) {
        case Reduction::sum:
        case Reduction::mean:
            reduce_with<T, SumOf<T>>(plan, x, y);
            break;
        case Reduction::max:
            reduce_with<T, MaxOf<T>>(plan, x, y);
            break;
        case Reduction::min:
            reduce_with<T, MinOf<T>>(plan, x, y);
            break;
        case Reduction::sum_squares:
            reduce_with<T, SumOfSquares<T>>(plan, x, y);
            break;
    }
    if (op == Reduction::mean) {
        const T count = static_cast<T>(plan.reduced);
        for (Index i = 0; i < plan.kept; ++i) y[i] /= count;
    }
}

void reduce_integer(Reduction op, const ReductionPlan& plan, const std::int64_t* x,
                    std::int64_t* y) {
    if (plan.kept == 0) return;
    x += plan.in_offset;
    y += plan.out_offset;
    using I = std::int64_t;
    const auto with = [&](I start, const auto& combine) {
        if (plan.reduced == 0) return std::fill(y, y + plan.kept, start);
        Walk kept(plan, plan.count, false);
        Walk reduced(plan, plan.count, true);
        do {
            I total = start;
            do {
                total = combine(total, x[kept.offset() + reduced.offset()]);
            } while (reduced.next());
            *y++ = total;
        } while (kept.next());
    };
    if (op == Reduction::sum) {  // unsigned: overflow of signed ones is undefined
        with(0, [](I a, I b) {
            return static_cast<I>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
        });
    } else if (op == Reduction::max) {
        with(std::numeric_limits<I>::min(), [](I a, I b) { return std::max(a, b); });
    } else if (op == Reduction::min) {
        with(std::numeric_limits<I>::max(), [](I a, I b) { return std::min(a, b); });
    }
}

template <class T>
void column_sums(const T* x, Index stride, T* y, Index rows, Index columns, bool accumulate) {
    reduce_all_columns<T, SumOf<T>>(x, stride, y, rows, columns, accumulate);
}

template <class T>
void argmax_rows(const T* x, std::int64_t* y, Index rows, Index n) {
    for (Index r = 0; r < rows; ++r, x += n) {
        const T largest = row_max(x, n);
        const bool nan = largest != largest;
        Index i = 0;
        while (i + 1 < n && !(nan ? x[i] != x[i] : x[i] == largest)) ++i;
        y[r] = i;
    }
}

void argmax_rows(const std::int64_t* x, std::int64_t* y, Index rows, Index n) {
    for (Index r = 0; r < rows; ++r, x += n) y[r] = std::max_element(x, x + n) - x;
}

template void reduce<float>(Reduction, const ReductionPlan&, const float*, float*);
template void reduce<double>(Reduction, const ReductionPlan&, const double*, double*);
template void column_sums<float>(const float*, Index, float*, Index, Index, bool);
template void column_sums<double>(const double*, Index, double*, Index, Index, bool);
template void argmax_rows<float>(const float*, std::int64_t*, Index, Index);
template void argmax_rows<double>(const double*, std::int64_t*, Index, Index);

}  // namespace fastprop
