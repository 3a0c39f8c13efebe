/// @file
/// @brief matmul and the dense layer as instructions: operands checked, slices taken, kernels
/// called.

#include <algorithm>

#include "kernels/dense.h"
#include "kernels/gemm.h"
#include "kernels/pack.h"
#include "program/op.h"

namespace fastprop {
namespace {

// ---- checks ------------------------------------------------------------------------------------

void require_matrix(const char* op, const char* name, const TensorView& view) {
    require(view.rank == 2, op, ": ", name, " has rank ", view.rank, ", wants 2");
}

void require_extent(const char* op, const char* name, Index got, Index wanted) {
    require(got == wanted, op, ": ", name, " is ", got, ", wants ", wanted);
}

/// The same leading axes, at least one, before the last.
void require_same_rows(const char* op, const TensorView& a, const TensorView& b) {
    require(a.rank >= 2 && a.rank == b.rank, op, ": ranks are ", a.rank, " and ", b.rank,
            ", wants equal ones of at least 2");
    for (int i = 0; i + 1 < a.rank; ++i) {
        require(a.shape[i] == b.shape[i], op, ": axis ", i, " has extents ", a.shape[i], " and ",
                b.shape[i]);
    }
}

void require_same_shape(const char* op, const char* name, const TensorView& a,
                        const TensorView& b) {
    require_same_rows(op, a, b);
    require_extent(op, name, b.last(), a.last());
}

/// Packed for B [k, n].
void require_packed(const char* op, const char* name, const TensorView& packed, Index k, Index n) {
    const Index width = packed_panel_width(packed.dtype);
    require(width > 0, op, ": ", name, " is ", dtype_name(packed.dtype));
    require(packed.size() >= round_up(n, width) * k, op, ": ", name, " has ", packed.size(),
            " elements, wants ", round_up(n, width) * k);
}

void check_dense_rest(const char* op, const Call& call) {
    const Index out = call.out[0].last();
    require_same_rows(op, call.in[0], call.out[0]);
    if (call.has(2)) require_extent(op, "size of b", call.in[2].size(), out);
    if (call.has_out(1)) require_same_shape(op, "columns of z", call.out[0], call.out[1]);
    activation_from_attribute(call.attr(0));
}

void check_dense(const Call& call) {
    const TensorView& w = call.in[1];
    require_matrix("dense", "W", w);
    require_extent("dense", "columns of x", call.in[0].last(), w.shape[0]);
    require_extent("dense", "columns of y", call.out[0].last(), w.shape[1]);
    check_dense_rest("dense", call);
}

void check_dense_packed(const Call& call) {
    const Index n = call.index_attr(3);
    require_extent("dense_packed", "columns of y", call.out[0].last(), n);
    require_packed("dense_packed", "Wp", call.in[1], call.in[0].last(), n);
    check_dense_rest("dense_packed", call);
}

void check_data_rest(const char* op, const Call& call) {
    require_same_rows(op, call.in[0], call.out[0]);
    if (call.has(2)) require_same_shape(op, "columns of h", call.out[0], call.in[2]);
    derivative_from_attribute(call.attr(0));
}

void check_backward_data(const Call& call) {
    const TensorView& w = call.in[1];
    require_matrix("dense_backward_data", "W", w);
    require_extent("dense_backward_data", "columns of dz", call.in[0].last(), w.shape[1]);
    require_extent("dense_backward_data", "columns of dx", call.out[0].last(), w.shape[0]);
    check_data_rest("dense_backward_data", call);
}

void check_backward_data_packed(const Call& call) {
    const char* op = "dense_backward_data_packed";
    require_packed(op, "WTp", call.in[1], call.in[0].last(), call.out[0].last());
    check_data_rest(op, call);
}

void check_backward_weights(const Call& call) {
    const char* op = "dense_backward_weights";
    require_same_rows(op, call.in[0], call.in[1]);
    require_matrix(op, "dW", call.out[0]);
    require_extent(op, "rows of dW", call.out[0].shape[0], call.in[0].last());
    require_extent(op, "columns of dW", call.out[0].shape[1], call.in[1].last());
}

void check_backward_weights_packed(const Call& call) {
    const char* op = "dense_backward_weights_packed";
    require(call.in[0].rank >= 2, op, ": x has rank ", call.in[0].rank, ", wants at least 2");
    require_matrix(op, "dW", call.out[0]);
    require_extent(op, "rows of dW", call.out[0].shape[0], call.in[0].last());
    require_extent(op, "columns of dW", call.out[0].shape[1], call.index_attr(0));
    require_packed(op, "dzp", call.in[1], call.in[0].outer(), call.index_attr(0));
}

void check_backward_bias(const Call& call) {
    const char* op = "dense_backward_bias";
    require(call.in[0].rank >= 1, op, ": dz has rank 0");
    require(call.out[0].rank == 1, op, ": db has rank ", call.out[0].rank, ", wants 1");
    require_extent(op, "size of db", call.out[0].shape[0], call.in[0].last());
}

void check_pack_rows(const Call& call) {
    require(call.in[0].rank >= 2, "pack_rows: rank is ", call.in[0].rank, ", wants at least 2");
    require_packed("pack_rows", "output", call.out[0], call.in[0].outer(), call.in[0].last());
}

void check_pack_weights(const Call& call) {
    require_matrix("pack_weights", "W", call.in[0]);
    require_packed("pack_weights", "output", call.out[0], call.in[0].shape[0], call.in[0].shape[1]);
}

void check_pack_weights_transposed(const Call& call) {
    const char* op = "pack_weights_transposed";
    require_matrix(op, "W", call.in[0]);
    require_packed(op, "output", call.out[0], call.in[0].shape[1], call.in[0].shape[0]);
}

void check_matmul(const Call& call) {
    const TensorView &a = call.in[0], &b = call.in[1], &c = call.out[0];
    const bool ta = call.attr(0) != 0, tb = call.attr(1) != 0;
    require(a.rank >= 2 && b.rank >= 2 && (b.rank == 2 || b.rank == a.rank) && c.rank == a.rank,
            "matmul: ranks are ", a.rank, " and ", b.rank, " to ", c.rank);
    for (int i = 0; i + 2 < a.rank; ++i) {
        require(c.shape[i] == a.shape[i] && (b.rank == 2 || b.shape[i] == a.shape[i]),
                "matmul: leading axis ", i, " differs");
    }
    require_extent("matmul", "rows of b", b.shape[b.rank - (tb ? 1 : 2)],
                   a.shape[a.rank - (ta ? 2 : 1)]);
    require_extent("matmul", "rows of the output", c.shape[c.rank - 2],
                   a.shape[a.rank - (ta ? 1 : 2)]);
    require_extent("matmul", "columns of the output", c.last(), b.shape[b.rank - (tb ? 2 : 1)]);
}

// ---- kernels -----------------------------------------------------------------------------------

/// The slice of axis 0 in rows of the matrix [outer, last].
Range row_slice(const TensorView& view, const Team& team) {
    const Range r = team.slice(view.rows());
    const Index inner = view.rank < 2 ? 1 : view.row_size() / std::max<Index>(view.last(), 1);
    return {r.begin * inner, r.end * inner};
}

/// The columns of an instruction that is sliced by them: whole panels of the register tile, and no
/// cache line of a row that two threads write.
Range column_slice(const TensorView& view, const Team& team) {
    constexpr Index line = 64;
    const Index in_line = line / static_cast<Index>(dtype_size(view.dtype));
    return team.columns(view.last(), std::max(in_line, packed_panel_width(view.dtype)));
}

template <class T>
const T* input(const Call& call, int i, Index offset = 0) {
    return call.has(i) ? call.in[i].as<const T>() + offset : nullptr;
}

template <class T>
ActivationSpec<T> activation_of(const Call& call) {
    return {static_cast<Activation>(call.index_attr(0)), static_cast<T>(call.attr(1)),
            static_cast<T>(call.attr(2))};
}

template <class T>
void dense_columns(const Call& call, const Team& team) {
    const TensorView &x = call.in[0], &y = call.out[0];
    const Range columns = column_slice(y, team);
    if (columns.empty()) return;
    T* z = call.has_out(1) ? call.out[1].as<T>() : nullptr;
    dense_forward_columns(x.as<const T>(), input<T>(call, 1), input<T>(call, 2), y.as<T>(), z,
                          x.outer(), x.last(), y.last(), columns, activation_of<T>(call));
}

template <class T, bool kPacked>
void dense_kernel(const Call& call, const Team& team) {
    if (!kPacked && team.is_by_columns()) return dense_columns<T>(call, team);
    const Range r = row_slice(call.out[0], team);
    if (r.empty()) return;
    const Index in = call.in[0].last(), out = call.out[0].last();
    const T* x = input<T>(call, 0, r.begin * in);
    T* y = call.out[0].as<T>() + r.begin * out;
    T* z = call.has_out(1) ? call.out[1].as<T>() + r.begin * out : nullptr;
    constexpr auto kernel = kPacked ? &dense_forward_packed<T> : &dense_forward<T>;
    kernel(x, input<T>(call, 1), input<T>(call, 2), y, z, r.size(), in, out,
           activation_of<T>(call));
}

template <class T>
void backward_data_columns(const Call& call, const Team& team) {
    const TensorView &dz = call.in[0], &dx = call.out[0];
    const Range columns = column_slice(dx, team);
    if (columns.empty()) return;
    dense_backward_data_columns(dz.as<const T>(), input<T>(call, 1), input<T>(call, 2), dx.as<T>(),
                                dz.outer(), dx.last(), dz.last(), columns, activation_of<T>(call));
}

template <class T, bool kPacked>
void backward_data_kernel(const Call& call, const Team& team) {
    if (!kPacked && team.is_by_columns()) return backward_data_columns<T>(call, team);
    const Range r = row_slice(call.out[0], team);
    if (r.empty()) return;
    const Index in = call.out[0].last(), out = call.in[0].last();
    constexpr auto kernel = kPacked ? &dense_backward_data_packed<T> : &dense_backward_data<T>;
    kernel(input<T>(call, 0, r.begin * out), input<T>(call, 1), input<T>(call, 2, r.begin * in),
           call.out[0].as<T>() + r.begin * in, r.size(), in, out, activation_of<T>(call));
}

template <class T, bool kPacked>
void backward_weights_kernel(const Call& call, const Team& team) {
    const Range slice = team.slice(call.out[0].rows());
    constexpr auto kernel =
        kPacked ? &dense_backward_weights_packed<T> : &dense_backward_weights<T>;
    kernel(input<T>(call, 0), input<T>(call, 1), call.out[0].as<T>(), call.in[0].outer(),
           call.in[0].last(), call.out[0].last(), slice);
}

template <class T>
void backward_bias_kernel(const Call& call, const Team& team) {
    dense_backward_bias(input<T>(call, 0), call.out[0].as<T>(), call.in[0].outer(),
                        call.in[0].last(), team.slice(call.out[0].rows()));
}

/// Sliced by the rows of the input, or by its columns: the packed output has neither axis.
template <class T>
void pack_rows_kernel(const Call& call, const Team& team) {
    const TensorView& b = call.in[0];
    if (team.is_by_columns()) {
        const Range columns = column_slice(b, team);
        const Index k = b.outer(), n = b.last();
        if (!columns.empty())
            pack_panels(b.as<const T>() + columns.begin, call.out[0].as<T>() + columns.begin * k, k,
                        columns.size(), n, k * panel_width<T>());
        return;
    }
    pack_rows(b.as<const T>(), call.out[0].as<T>(), b.outer(), b.last(), row_slice(b, team));
}

template <class T>
void pack_weights_transposed_kernel(const Call& call, const Team& team) {
    const TensorView& w = call.in[0];
    pack_rows_transposed(w.as<const T>(), call.out[0].as<T>(), w.shape[0], w.shape[1],
                         team.slice(w.rows()));
}

template <class T>
void matmul_kernel(const Call& call, const Team& team) {
    const TensorView &a = call.in[0], &b = call.in[1], &c = call.out[0];
    const bool ta = call.attr(0) != 0, tb = call.attr(1) != 0;
    Index m = c.shape[c.rank - 2];
    const Index n = c.last(), k = a.shape[a.rank - (ta ? 2 : 1)];
    Range slice = team.slice(c.rows());
    const GemmLayout layout = tb ? GemmLayout::transposed : GemmLayout::rows;
    const T *pa = a.as<const T>(), *pb = b.as<const T>();
    T* pc = c.as<T>();
    if (c.rank == 2 || (b.rank == 2 && !ta)) {  // one product; leading axes are rows
        if (c.rank > 2) slice = row_slice(c, team);
        gemm<T>({pa + slice.begin * (ta ? 1 : k), ta ? m : k, ta}, {pb, tb ? k : n, layout},
                pc + slice.begin * n, n, slice.size(), n, k);
        return;
    }
    Index products = 1;  // in one index of axis 0
    for (int i = 1; i + 2 < c.rank; ++i) products *= c.shape[i];
    const Index b_size = b.rank == 2 ? 0 : k * n;
    for (Index i = slice.begin * products; i < slice.end * products; ++i) {
        gemm<T>({pa + i * m * k, ta ? m : k, ta}, {pb + i * b_size, tb ? k : n, layout},
                pc + i * m * n, n, m, n, k);
    }
}

}  // namespace

std::vector<OpEntry> linear_ops() {
    const std::vector<std::string> act = {"activation", "p0", "p1"};
    const std::vector<std::string> act_n = {"activation", "p0", "p1", "n"};
    return {
        {"matmul",
         {"transpose_a", "transpose_b"},
         2,
         2,
         1,
         &matmul_kernel<float>,
         &matmul_kernel<double>,
         &check_matmul},
        {"dense", act, 2, 3, 2, &dense_kernel<float, false>, &dense_kernel<double, false>,
         &check_dense, nullptr, true},
        {"dense_packed", act_n, 2, 3, 2, &dense_kernel<float, true>, &dense_kernel<double, true>,
         &check_dense_packed},
        {"dense_backward_data", act, 2, 3, 1, &backward_data_kernel<float, false>,
         &backward_data_kernel<double, false>, &check_backward_data, nullptr, true},
        {"dense_backward_data_packed", act, 2, 3, 1, &backward_data_kernel<float, true>,
         &backward_data_kernel<double, true>, &check_backward_data_packed},
        {"dense_backward_weights",
         {},
         2,
         2,
         1,
         &backward_weights_kernel<float, false>,
         &backward_weights_kernel<double, false>,
         &check_backward_weights},
        {"dense_backward_weights_packed",
         {"n"},
         2,
         2,
         1,
         &backward_weights_kernel<float, true>,
         &backward_weights_kernel<double, true>,
         &check_backward_weights_packed},
        {"dense_backward_bias",
         {},
         1,
         1,
         1,
         &backward_bias_kernel<float>,
         &backward_bias_kernel<double>,
         &check_backward_bias},
        {"pack_rows",
         {},
         1,
         1,
         1,
         &pack_rows_kernel<float>,
         &pack_rows_kernel<double>,
         &check_pack_rows,
         nullptr,
         true},
        {"pack_weights",
         {},
         1,
         1,
         1,
         &pack_rows_kernel<float>,
         &pack_rows_kernel<double>,
         &check_pack_weights},
        {"pack_weights_transposed",
         {},
         1,
         1,
         1,
         &pack_weights_transposed_kernel<float>,
         &pack_weights_transposed_kernel<double>,
         &check_pack_weights_transposed},
    };
}

}  // namespace fastprop
