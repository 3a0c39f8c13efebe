/// @file
/// @brief Parts of arrays, elements by index, running sums and orders as instructions.

#include <algorithm>
#include <cstring>

#include "kernels/scan.h"
#include "kernels/slice.h"
#include "kernels/take.h"
#include "program/operands.h"

namespace fastprop {
namespace {

/// An array around one of its axes.
struct AxisView {
    Index outer = 1;
    Index extent = 1;
    Index inner = 1;

    AxisView(const TensorView& view, int axis) {
        for (int i = 0; i < axis; ++i) outer *= view.shape[i];
        extent = view.shape[axis];
        for (int i = axis + 1; i < view.rank; ++i) inner *= view.shape[i];
    }
};

void require_same_dtype(const char* op, const Call& call) {
    require(call.in[0].dtype == call.out[0].dtype, op, ": input is ", dtype_name(call.in[0].dtype),
            ", the output ", dtype_name(call.out[0].dtype));
}

void require_index(const char* op, const TensorView& index) {
    require(index.dtype == DType::i64 && index.rank >= 1, op, ": index is ",
            dtype_name(index.dtype), " of rank ", index.rank, ", wants int64 of rank 1 or more");
}

/// Attribute `position` as an axis of an array of this rank.
int require_axis(const char* op, const Call& call, int position, int rank) {
    const double axis = call.attr(position);
    require(axis >= 0 && axis < rank && axis == static_cast<int>(axis), op, ": axis ", axis,
            " of an array of rank ", rank);
    return static_cast<int>(axis);
}

/// Refuses two shapes that differ outside of one axis.
void require_shape_but(const char* op, const TensorView& a, const TensorView& b, int axis) {
    require(a.rank == b.rank, op, ": ranks are ", a.rank, " and ", b.rank);
    for (int i = 0; i < a.rank; ++i)
        require(i == axis || a.shape[i] == b.shape[i], op, ": extents of axis ", i, " are ",
                a.shape[i], " and ", b.shape[i]);
}

/// This thread's share of an output seen around an axis: all of the axis for some of the outer
/// indices, or some of axis 0 itself.
struct AxisShare {
    Range outer;
    Range own;

    AxisShare(const Call& call, const Team& team, const AxisView& y, int axis) {
        const Range rows = own_rows(call, team);
        const Index per_row = axis == 0 ? 1 : y.outer / std::max<Index>(call.out[0].rows(), 1);
        outer = axis == 0 ? Range{0, 1} : Range{rows.begin * per_row, rows.end * per_row};
        own = axis == 0 ? rows : Range{0, y.extent};
    }
};

// ---- slice, place, concatenate -----------------------------------------------------------------

SliceSpec slice_spec(const Call& call, int rank) {
    SliceSpec spec;
    for (int i = 0; i < rank; ++i) {
        spec.start[i] = call.index_attr(i);
        spec.step[i] = call.index_attr(kMaxRank + i);
    }
    return spec;
}

/// Every index that the slice names lies in the large array.
void check_parts(const char* op, const Call& call, const TensorView& small,
                 const TensorView& large) {
    require_same_dtype(op, call);
    require(small.rank == large.rank, op, ": ranks are ", small.rank, " and ", large.rank);
    const SliceSpec spec = slice_spec(call, small.rank);
    for (int i = 0; i < small.rank; ++i) {
        if (small.shape[i] == 0) continue;
        const Index last = spec.start[i] + (small.shape[i] - 1) * spec.step[i];
        require(spec.step[i] != 0 && spec.start[i] >= 0 && spec.start[i] < large.shape[i] &&
                    last >= 0 && last < large.shape[i],
                op, ": axis ", i, " goes from ", spec.start[i], " to ", last, " of ",
                large.shape[i]);
    }
}

void check_slice(const Call& call) { check_parts("slice", call, call.out[0], call.in[0]); }
void check_place(const Call& call) { check_parts("place", call, call.in[0], call.out[0]); }

void run_slice(const Call& call, const Team& team) {
    const TensorView& y = call.out[0];
    with_storage_type(y.dtype, [&](auto element) {
        slice<decltype(element)>(call.in[0], y, slice_spec(call, y.rank), own_rows(call, team));
    });
}

/// The bits of a number as an element of this dtype.
std::uint64_t element_bits(DType dtype, double value) {
    std::uint64_t bits = 0;
    const auto as = [&](auto element) { std::memcpy(&bits, &element, sizeof(element)); };
    switch (dtype) {
        case DType::f32:
            as(static_cast<float>(value));
            break;
        case DType::f64:
            as(value);
            break;
        case DType::i32:
            as(static_cast<std::int32_t>(value));
            break;
        case DType::i64:
            as(static_cast<std::int64_t>(value));
            break;
        case DType::u8:
            as(static_cast<std::uint8_t>(value));
            break;
    }
    return bits;
}

void run_place(const Call& call, const Team& team) {
    const TensorView& y = call.out[0];
    const std::uint64_t bits = element_bits(y.dtype, call.attr(2 * kMaxRank));
    with_storage_type(y.dtype, [&](auto element) {
        using U = decltype(element);
        std::memcpy(&element, &bits, sizeof(U));
        place<U>(call.in[0], y, slice_spec(call, y.rank), element, own_rows(call, team));
    });
}

void check_concatenate(const Call& call) {
    const char* op = "concatenate";
    const int axis = require_axis(op, call, 0, call.out[0].rank);
    Index extent = 0;
    for (int k = 0; k < call.num_in; ++k) {
        require(call.in[k].present() && call.in[k].dtype == call.out[0].dtype, op, ": input ", k,
                " is missing or not ", dtype_name(call.out[0].dtype));
        require_shape_but(op, call.in[k], call.out[0], axis);
        extent += call.in[k].shape[axis];
    }
    require(extent == call.out[0].shape[axis], op, ": the inputs have ", extent,
            " indices along the axis, the output ", call.out[0].shape[axis]);
}

void run_concatenate(const Call& call, const Team& team) {
    concatenate(call.in, call.num_in, call.out[0], static_cast<int>(call.attr(0)),
                own_rows(call, team));
}

// ---- elements by index -------------------------------------------------------------------------

/// `array` with its axis replaced by those of the index is `picked`.
void check_taken(const char* op, const Call& call, const TensorView& array,
                 const TensorView& picked) {
    require_same_dtype(op, call);
    const TensorView& index = call.in[1];
    require_index(op, index);
    const int axis = require_axis(op, call, 0, array.rank);
    require(picked.rank == array.rank - 1 + index.rank, op, ": rank is ", picked.rank, ", wants ",
            array.rank - 1 + index.rank);
    for (int i = 0; i < picked.rank; ++i) {
        const Index wanted = i < axis                ? array.shape[i]
                             : i < axis + index.rank ? index.shape[i - axis]
                                                     : array.shape[i - index.rank + 1];
        require(picked.shape[i] == wanted, op, ": axis ", i, " has extent ", picked.shape[i],
                ", wants ", wanted);
    }
}

void check_take(const Call& call) { check_taken("take", call, call.in[0], call.out[0]); }
void check_take_add(const Call& call) { check_taken("take_add", call, call.out[0], call.in[0]); }

void run_take(const Call& call, const Team& team) {
    const TensorView& y = call.out[0];
    const AxisView x(call.in[0], static_cast<int>(call.attr(0)));
    const Index count = call.in[1].size();
    if (y.size() == 0) return;
    const Range rows = own_rows(call, team);
    const Index per_row = x.outer * count / y.rows();
    with_storage_type(y.dtype, [&](auto element) {
        using U = decltype(element);
        take(input<U>(call, 0), input<std::int64_t>(call, 1), output<U>(call), x.extent, count,
             x.inner, Range{rows.begin * per_row, rows.end * per_row});
    });
}

template <class T>
void run_take_add(const Call& call, const Team& team) {
    const int axis = static_cast<int>(call.attr(0));
    const AxisView y(call.out[0], axis);
    const AxisShare share(call, team, y, axis);
    take_add(input<T>(call, 0), input<std::int64_t>(call, 1), output<T>(call), share.outer,
             y.extent, share.own, call.in[1].size(), y.inner);
}

/// The index has the shape of what is picked, which is the array's but for the axis.
void check_gathered(const char* op, const Call& call, const TensorView& array,
                    const TensorView& picked) {
    require_same_dtype(op, call);
    require_index(op, call.in[1]);
    const int axis = require_axis(op, call, 0, array.rank);
    require_shape_but(op, array, picked, axis);
    require_shape_but(op, call.in[1], picked, -1);
}

void check_gather(const Call& call) { check_gathered("gather", call, call.in[0], call.out[0]); }
void check_scatter_add(const Call& call) {
    check_gathered("scatter_add", call, call.out[0], call.in[0]);
}

void run_gather(const Call& call, const Team& team) {
    const int axis = static_cast<int>(call.attr(0));
    const AxisView x(call.in[0], axis);
    const AxisView y(call.out[0], axis);
    if (call.out[0].size() == 0) return;
    with_storage_type(call.out[0].dtype, [&](auto element) {
        using U = decltype(element);
        gather(input<U>(call, 0), input<std::int64_t>(call, 1), output<U>(call), x.extent, y.extent,
               y.inner, own_elements(call, team));
    });
}

template <class T>
void run_scatter_add(const Call& call, const Team& team) {
    const int axis = static_cast<int>(call.attr(0));
    const AxisView y(call.out[0], axis);
    const AxisShare share(call, team, y, axis);
    scatter_add(input<T>(call, 0), input<std::int64_t>(call, 1), output<T>(call), share.outer,
                y.extent, share.own, AxisView(call.in[0], axis).extent, y.inner);
}

// ---- running sums and orders -------------------------------------------------------------------

void check_cumsum(const Call& call) {
    require_dtype_of_output("cumsum", call);
    require_axis("cumsum", call, 0, call.out[0].rank);
    require_shape_but("cumsum", call.in[0], call.out[0], -1);
}

template <class T>
void run_cumsum(const Call& call, const Team& team) {
    const int axis = static_cast<int>(call.attr(0));
    const AxisView y(call.out[0], axis);
    const AxisShare share(call, team, y, axis);
    cumulative_sum(input<T>(call, 0), output<T>(call), share.outer, y.extent, share.own, y.inner,
                   call.attr(1) != 0);
}

void check_argsort(const Call& call) {
    require_number_type("argsort", call.in[0].dtype);
    require(call.out[0].dtype == DType::i64, "argsort: the output is ",
            dtype_name(call.out[0].dtype), ", wants int64");
    require(call.in[0].rank >= 2, "argsort: rank is ", call.in[0].rank, ", wants at least 2");
    require_shape_but("argsort", call.in[0], call.out[0], -1);
}

void run_argsort(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    const Index n = call.in[0].last();
    if (r.empty()) return;
    with_number_type(call.in[0].dtype, [&](auto element) {
        argsort_rows(input<decltype(element)>(call, 0) + r.begin,
                     output<std::int64_t>(call) + r.begin, r.size() / n, n, call.attr(0) != 0);
    });
}

std::vector<std::string> slice_attributes() {
    std::vector<std::string> names;
    for (const char* kind : {"start", "step"}) {
        for (int i = 0; i < kMaxRank; ++i) names.push_back(concat(kind, i));
    }
    return names;
}

/// Parts that `concatenate` joins in one call.
constexpr int kMaxParts = 32;

}  // namespace

std::vector<OpEntry> index_ops() {
    const std::vector<std::string> part = slice_attributes();
    std::vector<std::string> filled_part = part;
    filled_part.emplace_back("fill");
    return {
        // One kernel for both types: these move bytes of any dtype.
        {"slice", part, 1, 1, 1, run_slice, run_slice, check_slice},
        {"place", filled_part, 1, 1, 1, run_place, run_place, check_place},
        {"concatenate",
         {"axis"},
         1,
         kMaxParts,
         1,
         run_concatenate,
         run_concatenate,
         check_concatenate},
        {"take", {"axis"}, 2, 2, 1, run_take, run_take, check_take},
        {"gather", {"axis"}, 2, 2, 1, run_gather, run_gather, check_gather},
        {"take_add", {"axis"}, 2, 2, 1, run_take_add<float>, run_take_add<double>, check_take_add},
        {"scatter_add",
         {"axis"},
         2,
         2,
         1,
         run_scatter_add<float>,
         run_scatter_add<double>,
         check_scatter_add,
         run_scatter_add<std::uint64_t>},
        {"cumsum",
         {"axis", "reverse"},
         1,
         1,
         1,
         run_cumsum<float>,
         run_cumsum<double>,
         check_cumsum,
         run_cumsum<std::uint64_t>},
        {"argsort", {"descending"}, 1, 1, 1, run_argsort, run_argsort, check_argsort},
    };
}

}  // namespace fastprop
