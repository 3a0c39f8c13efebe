/// @file
/// @brief Reductions over axes, and changes of layout, as instructions.

#include <cstdint>

#include "kernels/broadcast.h"
#include "kernels/layout.h"
#include "kernels/reduce.h"
#include "program/operands.h"

namespace fastprop {
namespace {

// ---- sums, mean, max, min -----------------------------------------------------------------------

/// Bit i set: axis i of the input is reduced.
unsigned reduced_axes(const Call& call) { return static_cast<unsigned>(call.attr(0)); }

/// The output has the kept axes, and either nothing or extent 1 for the reduced ones.
void check_reduction(const Call& call) {
    const TensorView& x = call.in[0];
    const TensorView& y = call.out[0];
    require_dtype_of_output("reduction", call);
    const double mask = call.attr(0);
    require(mask >= 0 && mask < static_cast<double>(1u << x.rank), "reduction: axes ", mask,
            " is no set of axes of an array of rank ", x.rank);
    const unsigned axes = reduced_axes(call);
    require(static_cast<double>(axes) == mask, "reduction: axes ", mask, " is not an integer");
    const bool keeps_axes = y.rank == x.rank;
    int axis = 0;
    for (int i = 0; i < x.rank; ++i) {
        const bool reduced = (axes >> i & 1u) != 0;
        if (reduced && !keeps_axes) continue;
        require(axis < y.rank, "reduction: the output has rank ", y.rank, ", too few");
        const Index wanted = reduced ? 1 : x.shape[i];
        require(y.shape[axis] == wanted, "reduction: axis ", axis, " of the output has extent ",
                y.shape[axis], ", wants ", wanted);
        ++axis;
    }
    require(axis == y.rank, "reduction: the output has rank ", y.rank, ", wants ", axis);
}

template <class T, Reduction op>
void run_reduction(const Call& call, const Team& team) {
    const ReductionPlan plan =
        plan_reduction(call.in[0], reduced_axes(call), call.out[0].rows(), own_rows(call, team));
    reduce(op, plan, input<T>(call, 0), output<T>(call));
}

template <Reduction op>
void run_integer_reduction(const Call& call, const Team& team) {
    const ReductionPlan plan =
        plan_reduction(call.in[0], reduced_axes(call), call.out[0].rows(), own_rows(call, team));
    reduce_integer(op, plan, input<std::int64_t>(call, 0), output<std::int64_t>(call));
}

void check_argmax(const Call& call) {
    const TensorView& x = call.in[0];
    require(x.rank >= 1 && (x.last() > 0 || x.outer() == 0), "argmax: x has no elements in a row");
    require_number_type("argmax", x.dtype);
    require(call.out[0].dtype == DType::i64, "argmax: the output is ",
            dtype_name(call.out[0].dtype), ", wants int64");
    require(call.out[0].size() == x.outer(), "argmax: the output has ", call.out[0].size(),
            " elements, wants ", x.outer());
}

template <class T>
void argmax_of(const Call& call, Range r) {
    const Index n = call.in[0].last();
    argmax_rows(input<T>(call, 0) + r.begin * n, output<std::int64_t>(call) + r.begin, r.size(), n);
}

void run_argmax(const Call& call, const Team& team) {
    with_number_type(call.in[0].dtype, [&](auto element) {
        argmax_of<decltype(element)>(call, own_elements(call, team));
    });
}

// ---- layout ------------------------------------------------------------------------------------

void check_broadcast_to(const Call& call) {
    require_dtype_of_output("broadcast_to", call);
    require(broadcasts_to(call.in[0], call.out[0]),
            "broadcast_to: the input does not broadcast to the shape of the output");
}

void run_broadcast_to(const Call& call, const Team& team) {
    const BroadcastPlan plan = plan_broadcast(call.out[0], call.in, 1, own_rows(call, team));
    with_storage_type(call.out[0].dtype, [&](auto element) {
        using U = decltype(element);
        broadcast(plan, input<U>(call, 0), output<U>(call));
    });
}

void check_broadcast_mean(const Call& call) {
    check_broadcast_to(call);
    require(call.in[0].rank == call.out[0].rank, "broadcast_mean: ranks are ", call.in[0].rank,
            " and ", call.out[0].rank);
}

/// The gradient of a mean: broadcast_to, divided by how often each element is repeated. The
/// division is done here because the number of rows may change from step to step.
template <class T>
void run_broadcast_mean(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    if (r.empty()) return;
    run_broadcast_to(call, team);
    const T count = static_cast<T>(call.out[0].size() / call.in[0].size());
    T* y = output<T>(call);
    for (Index i = r.begin; i < r.end; ++i) y[i] /= count;
}

void check_transpose(const Call& call) {
    const TensorView& x = call.in[0];
    const TensorView& y = call.out[0];
    require_dtype_of_output("transpose", call);
    require(x.rank == y.rank, "transpose: ranks are ", x.rank, " and ", y.rank);
    unsigned seen = 0;
    for (int i = 0; i < x.rank; ++i) {
        const double source = call.attr(i);
        require(source >= 0 && source < x.rank, "transpose: perm", i, " is ", source,
                ", wants an axis below ", x.rank);
        const int axis = static_cast<int>(source);
        seen |= 1u << axis;
        require(y.shape[i] == x.shape[axis], "transpose: axis ", i, " of the output has extent ",
                y.shape[i], ", wants ", x.shape[axis]);
    }
    require(seen == (1u << x.rank) - 1u, "transpose: the permutation names an axis twice");
}

void run_transpose(const Call& call, const Team& team) {
    int permutation[kMaxRank] = {};
    for (int i = 0; i < call.in[0].rank; ++i) permutation[i] = static_cast<int>(call.attr(i));
    with_storage_type(call.out[0].dtype, [&](auto element) {
        using U = decltype(element);
        transpose(call.in[0], permutation, input<U>(call, 0), output<U>(call),
                  own_rows(call, team));
    });
}

template <Reduction op>
OpEntry reduction_row(const char* name) {
    constexpr bool integers = op != Reduction::mean && op != Reduction::sum_squares;
    return {name,
            {"axes"},
            1,
            1,
            1,
            run_reduction<float, op>,
            run_reduction<double, op>,
            check_reduction,
            integers ? run_integer_reduction<op> : nullptr};
}

}  // namespace

std::vector<OpEntry> reduction_ops() {
    return {
        reduction_row<Reduction::sum>("sum"),
        reduction_row<Reduction::mean>("mean"),
        reduction_row<Reduction::max>("max"),
        reduction_row<Reduction::min>("min"),
        reduction_row<Reduction::sum_squares>("sum_squares"),
        {"argmax", {}, 1, 1, 1, run_argmax, run_argmax, check_argmax},
        {"broadcast_to", {}, 1, 1, 1, run_broadcast_to, run_broadcast_to, check_broadcast_to},
        {"broadcast_mean",
         {},
         1,
         1,
         1,
         run_broadcast_mean<float>,
         run_broadcast_mean<double>,
         check_broadcast_mean},
        {"transpose",
         {"perm0", "perm1", "perm2", "perm3", "perm4", "perm5", "perm6", "perm7"},
         1,
         1,
         1,
         run_transpose,
         run_transpose,
         check_transpose},
    };
}

}  // namespace fastprop
