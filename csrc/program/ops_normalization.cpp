/// @file
/// @brief Normalization as instructions: statistics, forward, and both halves of backward.
///
/// The last axis of x is the columns. Batch normalization: statistics of columns, of all other axes
/// together, so instructions that make them are sliced by columns. Layer normalization and its kin:
/// statistics of each row's groups, [..., groups, 2], sliced as x is.

#include "kernels/normalization.h"

#include "program/operands.h"

namespace fastprop {
namespace {

/// The rows of a matrix [rows, columns] that this thread has of x's axis 0.
struct Rows {
    Index begin, size, columns;

    Rows(const Call& call, const Team& team) : columns(call.out[0].last()) {
        const Range r = own_elements(call, team);
        begin = columns == 0 ? 0 : r.begin / columns;
        size = columns == 0 ? 0 : r.size() / columns;
    }

    Index offset() const { return begin * columns; }
};

/// Optional input i, or null.
template <class T>
const T* optional_input(const Call& call, int i) {
    return call.has(i) ? input<T>(call, i) : nullptr;
}

void require_columns(const char* op, const Call& call, int i, Index columns) {
    require(!call.has(i) || call.in[i].size() == columns, op, ": input ", i, " has ",
            call.has(i) ? call.in[i].size() : 0, " elements, wants ", columns);
}

/// An output of `each` numbers for each of x's columns.
void check_columns_of_output(const char* op, const Call& call, Index each) {
    const TensorView& x = call.in[0];
    const TensorView& y = call.out[0];
    require_dtype_of_output(op, call);
    require(x.rank >= 1 && y.rank == 2 && y.shape[0] == x.last() && y.shape[1] == each, op,
            ": the output wants the shape [", x.last(), ", ", each, "]");
}

void check_columns_of_input(const Call& call) {
    const TensorView& moments = call.in[0];
    const TensorView& mean = call.out[0];
    require(moments.dtype == mean.dtype && mean.rank == 1 && call.num_out == 2 &&
                call.out[1].size() == mean.size() && moments.size() == kBatchMoments * mean.size(),
            "running_moments: mean and variance want one number for each column");
}

void check_like_x(const char* op, const Call& call) {
    require_dtype_of_output(op, call);
    require(call.out[0].rank >= 2 && call.in[0].last() == call.out[0].last(), op,
            ": rows of the input have ", call.in[0].last(), " elements, those of the output ",
            call.out[0].last());
    require_size_of_output(op, call, 0);
}

// ---- batch normalization -----------------------------------------------------------------------

void check_batch_moments(const Call& call) {
    check_columns_of_output("batch_moments", call, kBatchMoments);
    require(call.in[0].outer() > 0, "batch_moments: x has no rows");
}

template <class T>
void run_batch_moments(const Call& call, const Team& team) {
    const TensorView& x = call.in[0];
    batch_moments(input<T>(call, 0), output<T>(call), x.outer(), x.last(), own_rows(call, team),
                  call.attr(0));
}

/// Overwrites running mean and variance by moments[, number of batches so far]. Attribute momentum
/// is the share of the latest batch; negative: all batches count alike.
void check_running_moments(const Call& call) {
    check_columns_of_input(call);
    require(!call.has(1) || (call.in[1].dtype == DType::i64 && call.in[1].size() == 1),
            "running_moments: the number of batches wants one int64");
    require(call.attr(0) >= 0.0 || call.has(1), "running_moments: no momentum, nor a number");
}

template <class T>
void run_running_moments(const Call& call, const Team& team) {
    const double momentum = call.attr(0);
    const double share =
        momentum >= 0.0 ? momentum : 1.0 / static_cast<double>(*input<std::int64_t>(call, 1));
    running_moments(input<T>(call, 0), output<T>(call), output<T>(call, 1), own_rows(call, team),
                    share);
}

/// x, mean, rstd[, w, b]
void check_batch_norm(const Call& call) {
    check_like_x("batch_norm", call);
    for (int i = 1; i < 5; ++i) require_columns("batch_norm", call, i, call.in[0].last());
    require(call.has(3) == call.has(4) || call.in[0].last() == 0,
            "batch_norm: w and b come together");
}

template <class T>
void run_batch_norm(const Call& call, const Team& team) {
    const Rows rows(call, team);
    batch_norm(input<T>(call, 0) + rows.offset(), input<T>(call, 1), input<T>(call, 2),
               optional_input<T>(call, 3), optional_input<T>(call, 4),
               output<T>(call) + rows.offset(), rows.size, rows.columns);
}

/// x, mean, rstd, dy -> dw, db of each column
void check_batch_weights(const Call& call) {
    const char* op = "batch_norm_backward_weights";
    check_columns_of_output(op, call, 2);
    require_columns(op, call, 1, call.in[0].last());
    require_columns(op, call, 2, call.in[0].last());
    require_columns(op, call, 3, call.in[0].size());
}

template <class T>
void run_batch_weights(const Call& call, const Team& team) {
    const TensorView& x = call.in[0];
    batch_norm_backward_weights(input<T>(call, 0), input<T>(call, 1), input<T>(call, 2),
                                input<T>(call, 3), output<T>(call), x.outer(), x.last(),
                                own_rows(call, team));
}

/// x, mean, rstd, dy, dw, db[, w]
void check_batch_data(const Call& call) {
    const char* op = "batch_norm_backward_data";
    check_like_x(op, call);
    require_size_of_output(op, call, 3);
    for (const int i : {1, 2, 4, 5, 6}) require_columns(op, call, i, call.in[0].last());
}

template <class T>
void run_batch_data(const Call& call, const Team& team) {
    const Rows rows(call, team);
    batch_norm_backward_data(input<T>(call, 0) + rows.offset(), input<T>(call, 1),
                             input<T>(call, 2), input<T>(call, 3) + rows.offset(),
                             input<T>(call, 4), input<T>(call, 5), optional_input<T>(call, 6),
                             output<T>(call) + rows.offset(), rows.size, rows.columns,
                             call.in[0].outer());
}

// ---- layer, RMS and group normalization --------------------------------------------------------

/// Attribute 0 of all of these is the number of groups in a row.
Index check_groups(const char* op, const Call& call) {
    const Index groups = call.index_attr(0), columns = call.in[0].last();
    require(call.in[0].rank >= 1 && groups >= 1 && static_cast<double>(groups) == call.attr(0) &&
                columns % groups == 0,
            op, ": ", call.attr(0), " groups of ", columns, " columns");
    return groups;
}

/// x -> [..., groups, 2]
void check_layer_moments(const Call& call) {
    require_dtype_of_output("layer_moments", call);
    const Index groups = check_groups("layer_moments", call);
    const TensorView& x = call.in[0];
    const TensorView& y = call.out[0];
    require(x.rank >= 2 && y.rank == x.rank + 1 && y.rows() == x.rows() &&
                y.size() == 2 * groups * x.outer() && y.last() == 2,
            "layer_moments: the output has ", y.size(), " elements, wants ",
            2 * groups * x.outer());
}

template <class T>
void run_layer_moments(const Call& call, const Team& team) {
    const TensorView& x = call.in[0];
    const Index groups = call.index_attr(0), columns = x.last();
    const Range r = own_elements(call, team);
    const Index begin = r.begin / (2 * groups), rows = r.size() / (2 * groups);
    layer_moments(input<T>(call, 0) + begin * columns, output<T>(call) + r.begin, rows, columns,
                  groups, call.attr(1), call.attr(2) != 0.0);
}

void require_moments(const char* op, const Call& call, Index groups) {
    require(call.in[1].size() == 2 * groups * call.in[0].outer(), op, ": the moments have ",
            call.in[1].size(), " elements, wants ", 2 * groups * call.in[0].outer());
}

/// x, moments[, w[, b]]
void check_layer_norm(const Call& call) {
    check_like_x("layer_norm", call);
    require_moments("layer_norm", call, check_groups("layer_norm", call));
    require_columns("layer_norm", call, 2, call.in[0].last());
    require_columns("layer_norm", call, 3, call.in[0].last());
    require(call.has(2) || !call.has(3), "layer_norm: b without w");
}

template <class T>
void run_layer_norm(const Call& call, const Team& team) {
    const Rows rows(call, team);
    const Index groups = call.index_attr(0);
    layer_norm(input<T>(call, 0) + rows.offset(), input<T>(call, 1) + 2 * groups * rows.begin,
               optional_input<T>(call, 2), optional_input<T>(call, 3),
               output<T>(call) + rows.offset(), rows.size, rows.columns, groups);
}

/// x, moments, dy -> dw, db of each column
void check_layer_weights(const Call& call) {
    const char* op = "layer_norm_backward_weights";
    check_columns_of_output(op, call, 2);
    require_moments(op, call, check_groups(op, call));
    require_columns(op, call, 2, call.in[0].size());
}

template <class T>
void run_layer_weights(const Call& call, const Team& team) {
    const TensorView& x = call.in[0];
    layer_norm_backward_weights(input<T>(call, 0), input<T>(call, 1), input<T>(call, 2),
                                output<T>(call), x.outer(), x.last(), call.index_attr(0),
                                own_rows(call, team));
}

/// x, moments, dy[, w]
void check_layer_data(const Call& call) {
    const char* op = "layer_norm_backward_data";
    check_like_x(op, call);
    require_moments(op, call, check_groups(op, call));
    require_size_of_output(op, call, 2);
    require_columns(op, call, 3, call.in[0].last());
}

template <class T>
void run_layer_data(const Call& call, const Team& team) {
    const Rows rows(call, team);
    const Index groups = call.index_attr(0);
    layer_norm_backward_data(
        input<T>(call, 0) + rows.offset(), input<T>(call, 1) + 2 * groups * rows.begin,
        input<T>(call, 2) + rows.offset(), optional_input<T>(call, 3),
        output<T>(call) + rows.offset(), rows.size, rows.columns, groups, call.attr(1) != 0.0);
}

}  // namespace

std::vector<OpEntry> normalization_ops() {
    const std::vector<std::string> none;
    const std::vector<std::string> groups = {"groups"};
    return {
        {"batch_moments",
         {"eps"},
         1,
         1,
         1,
         run_batch_moments<float>,
         run_batch_moments<double>,
         check_batch_moments},
        {"batch_norm", none, 3, 5, 1, run_batch_norm<float>, run_batch_norm<double>,
         check_batch_norm},
        {"normalize", none, 3, 5, 1, run_batch_norm<float>, run_batch_norm<double>,
         check_batch_norm},
        {"running_moments",
         {"momentum"},
         1,
         2,
         2,
         run_running_moments<float>,
         run_running_moments<double>,
         check_running_moments},
        {"batch_norm_backward_weights", none, 4, 4, 1, run_batch_weights<float>,
         run_batch_weights<double>, check_batch_weights},
        {"batch_norm_backward_data", none, 6, 7, 1, run_batch_data<float>, run_batch_data<double>,
         check_batch_data},
        {"layer_moments",
         {"groups", "eps", "centered"},
         1,
         1,
         1,
         run_layer_moments<float>,
         run_layer_moments<double>,
         check_layer_moments},
        {"layer_norm", groups, 2, 4, 1, run_layer_norm<float>, run_layer_norm<double>,
         check_layer_norm},
        {"layer_norm_backward_weights", groups, 3, 3, 1, run_layer_weights<float>,
         run_layer_weights<double>, check_layer_weights},
        {"layer_norm_backward_data",
         {"groups", "centered"},
         3,
         4,
         1,
         run_layer_data<float>,
         run_layer_data<double>,
         check_layer_data},
    };
}

}  // namespace fastprop
