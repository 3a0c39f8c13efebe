/// @file
/// @brief Sums over the batch in parts, one a chunk: the first axis of the output is that of the
/// chunks. Whoever has a chunk's rows makes its part; the parts are added up by `sum`.

#include <algorithm>

#include "kernels/gemm.h"
#include "kernels/reduce.h"
#include "program/operands.h"

namespace fastprop {
namespace {

/// Rows of x in chunk `c`, as the strips cut them (program/strips.h).
Range rows_of(const TensorView& x, Index c, Index chunks) {
    return Team::of_chunks({c, c + 1}, chunks).slice(x.rows());
}

/// Where part `c` goes; what was summed up before is there already. True if there is any.
template <class T>
bool begin_part(const Call& call, int earlier, T* part, Index offset, Index size) {
    if (!call.has(earlier)) return false;
    const T* before = input<T>(call, earlier) + offset;
    if (before != part) std::copy(before, before + size, part);
    return true;
}

// ---- dense_backward_weights_parts(x, dz[, earlier]) --------------------------------------------

void check_weights_parts(const Call& call) {
    const char* op = "dense_backward_weights_parts";
    require_dtype_of_output(op, call);
    const TensorView &x = call.in[0], &dz = call.in[1], &parts = call.out[0];
    require(x.rank == 2 && dz.rank == 2 && parts.rank == 3, op, ": ranks are ", x.rank, " and ",
            dz.rank, " to ", parts.rank, ", wants 2 and 2 to 3");
    require(x.rows() == dz.rows(), op, ": x has ", x.rows(), " rows, dz ", dz.rows());
    require(parts.shape[1] == x.last() && parts.last() == dz.last(), op, ": parts of ",
            parts.shape[1], " by ", parts.last(), ", wants ", x.last(), " by ", dz.last());
    if (call.has(2)) require_size_of_output(op, call, 2);
}

template <class T>
void run_weights_parts(const Call& call, const Team& team) {
    const TensorView &x = call.in[0], &dz = call.in[1], &parts = call.out[0];
    const Index in = x.last(), out = dz.last();
    const Range own = own_rows(call, team);
    GemmEpilogue<T> epilogue;
    for (Index c = own.begin; c < own.end; ++c) {
        const Range rows = rows_of(x, c, parts.rows());
        const Index offset = c * in * out;
        T* part = output<T>(call) + offset;
        epilogue.accumulate = begin_part(call, 2, part, offset, in * out);
        gemm<T>({x.as<T>() + rows.begin * in, in, true}, {dz.as<T>() + rows.begin * out, out}, part,
                out, in, out, rows.size(), epilogue);
    }
}

// ---- sum_parts(x[, earlier]) -------------------------------------------------------------------

void check_sum_parts(const Call& call) {
    require_dtype_of_output("sum_parts", call);
    const TensorView &x = call.in[0], &parts = call.out[0];
    require(x.rank >= 1 && parts.rank >= 1 && parts.row_size() == x.row_size(),
            "sum_parts: parts of ", parts.row_size(), " elements, wants ", x.row_size());
    if (call.has(1)) require_size_of_output("sum_parts", call, 1);
}

template <class T>
void run_sum_parts(const Call& call, const Team& team) {
    const TensorView &x = call.in[0], &parts = call.out[0];
    const Index size = x.row_size();
    const Range own = own_rows(call, team);
    for (Index c = own.begin; c < own.end; ++c) {
        const Range rows = rows_of(x, c, parts.rows());
        T* part = output<T>(call) + c * size;
        const bool accumulate = begin_part(call, 1, part, c * size, size);
        column_sums(x.as<T>() + rows.begin * size, size, part, rows.size(), size, accumulate);
    }
}

}  // namespace

std::vector<OpEntry> parts_ops() {
    return {
        {"dense_backward_weights_parts",
         {},
         2,
         3,
         1,
         run_weights_parts<float>,
         run_weights_parts<double>,
         check_weights_parts},
        {"sum_parts", {}, 1, 2, 1, run_sum_parts<float>, run_sum_parts<double>, check_sum_parts},
    };
}

}  // namespace fastprop
