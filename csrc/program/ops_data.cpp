/// @file
/// @brief Batches, layers that read them where they lie, and metrics in the op table.

#include <algorithm>
#include <cstring>

#include "kernels/gather.h"
#include "kernels/gathered.h"
#include "kernels/metric.h"
#include "program/op.h"

namespace fastprop {
namespace {

/// The rows that input `position` names, or else those that the Program's step is made of.
const std::int64_t* order_of(const Call& call, int position) {
    return call.has(position) ? call.in[position].as<std::int64_t>() : call.step->order;
}

/// A Program brings the order of its steps later; it is not there yet when it is built.
void check_order(const char* op, const Call& call, int position, Index rows) {
    if (call.has(position)) {
        const TensorView& order = call.in[position];
        require(order.dtype == DType::i64 && order.size() == rows, op, ": order wants ", rows,
                " int64, got ", order.size(), " ", dtype_name(order.dtype));
        return;
    }
    require(call.step == nullptr || call.step->order != nullptr, op, ": order is missing");
}

/// gather_rows(source[, order]) -> batch: rows order[i] of any dtype. Without an order, the rows
/// that the Program's step is made of.
void gather_kernel(const Call& call, const Team& team) {
    const TensorView& source = call.in[0];
    const TensorView& batch = call.out[0];
    const Range rows = team.slice(batch.rows());
    if (rows.empty()) return;
    const std::size_t row_bytes =
        static_cast<std::size_t>(batch.row_size()) * dtype_size(batch.dtype);
    gather_rows(source.data, order_of(call, 1) + rows.begin,
                static_cast<char*>(batch.data) + static_cast<std::size_t>(rows.begin) * row_bytes,
                source.rows(), rows.size(), row_bytes);
}

void check_gather(const Call& call) {
    const TensorView& source = call.in[0];
    const TensorView& batch = call.out[0];
    require(source.rank >= 1 && source.rank == batch.rank, "gather_rows: source has rank ",
            source.rank, ", the batch ", batch.rank);
    require(source.dtype == batch.dtype, "gather_rows: source is of ", dtype_name(source.dtype),
            ", the batch of ", dtype_name(batch.dtype));
    require(std::equal(source.shape + 1, source.shape + source.rank, batch.shape + 1),
            "gather_rows: the rows of source and batch differ in shape");
    check_order("gather_rows", call, 1, batch.rows());
}

template <class T>
GatheredRows<T> gathered(const Call& call, int order, Index first) {
    const TensorView& source = call.in[0];
    return {source.as<const T>(), source.rows(), order_of(call, order) + first, source.last()};
}

/// dense_gathered(source, W [in, 1][, b][, order]) -> y [rows, 1][, z]: `dense` of gather_rows.
template <class T>
void dense_gathered_kernel(const Call& call, const Team& team) {
    const Range r = team.slice(call.out[0].rows());
    if (r.empty()) return;
    const ActivationSpec<T> f = {static_cast<Activation>(call.index_attr(0)),
                                 static_cast<T>(call.attr(1)), static_cast<T>(call.attr(2))};
    dense_forward_gathered(gathered<T>(call, 3, r.begin), call.in[1].as<const T>(),
                           call.has(2) ? call.in[2].as<const T>() : nullptr,
                           call.out[0].as<T>() + r.begin,
                           call.has_out(1) ? call.out[1].as<T>() + r.begin : nullptr, r.size(), f);
}

/// dense_backward_weights_gathered(source, dz [rows, 1][, order]) -> dW [in, 1].
template <class T>
void weights_gathered_kernel(const Call& call, const Team& team) {
    dense_backward_weights_gathered(gathered<T>(call, 2, 0), call.in[1].as<const T>(),
                                    call.out[0].as<T>(), call.in[1].rows(),
                                    team.slice(call.out[0].rows()));
}

void check_gathered(const char* op, const TensorView& source, const TensorView& w,
                    const TensorView& y) {
    require(source.rank == 2, op, ": source has rank ", source.rank, ", wants 2");
    require(w.rank == 2 && w.shape[1] == 1 && w.shape[0] == source.shape[1], op, ": W wants [",
            source.shape[1], ", 1]");
    require(y.rank == 2 && y.shape[1] == 1, op, ": y wants one column");
}

void check_dense_gathered(const Call& call) {
    const char* op = "dense_gathered";
    const TensorView& y = call.out[0];
    check_gathered(op, call.in[0], call.in[1], y);
    if (call.has(2)) require(call.in[2].size() == 1, op, ": size of b is not 1");
    if (call.has_out(1))
        require(call.out[1].size() == y.size(), op, ": z has ", call.out[1].size(), " elements");
    activation_from_attribute(call.attr(0));
    check_order(op, call, 3, y.rows());
}

void check_weights_gathered(const Call& call) {
    const char* op = "dense_backward_weights_gathered";
    check_gathered(op, call.in[0], call.out[0], call.in[1]);
    check_order(op, call, 2, call.in[1].rows());
}

/// top_k_correct(scores, labels) -> rows; attribute k.
template <class T>
void top_k_kernel(const Call& call, const Team& team) {
    const TensorView& scores = call.in[0];
    const Range rows = team.slice(scores.rows());
    if (rows.empty()) return;
    const Index classes = scores.last();
    top_k_correct(scores.as<T>() + rows.begin * classes, call.in[1].as<std::int64_t>() + rows.begin,
                  call.out[0].as<T>() + rows.begin, rows.size(), classes, call.index_attr(0));
}

void check_top_k(const Call& call) {
    const TensorView& scores = call.in[0];
    const TensorView& labels = call.in[1];
    require(scores.rank == 2, "top_k_correct: scores has rank ", scores.rank, ", wants 2");
    require(labels.dtype == DType::i64 && labels.size() == scores.rows(),
            "top_k_correct: labels wants ", scores.rows(), " int64, got ", labels.size(), " ",
            dtype_name(labels.dtype));
    require(call.out[0].size() == scores.rows(), "top_k_correct: the output has ",
            call.out[0].size(), " elements, wants ", scores.rows());
}

/// binary_correct(pred, target) -> rows; attribute threshold.
template <class T>
void binary_correct_kernel(const Call& call, const Team& team) {
    const TensorView& pred = call.in[0];
    const Range rows = team.slice(pred.rows());
    if (rows.empty()) return;
    const Index row_size = pred.row_size();
    const Index at = rows.begin * row_size;
    binary_correct(pred.as<T>() + at, call.in[1].as<T>() + at, call.out[0].as<T>() + rows.begin,
                   rows.size(), row_size, call.attr(0));
}

void check_binary_correct(const Call& call) {
    const TensorView& pred = call.in[0];
    const TensorView& target = call.in[1];
    require(target.dtype == pred.dtype && target.size() == pred.size(),
            "binary_correct: target wants ", pred.size(), " ", dtype_name(pred.dtype), ", got ",
            target.size(), " ", dtype_name(target.dtype));
    require(call.out[0].size() == pred.rows(), "binary_correct: the output has ",
            call.out[0].size(), " elements, wants ", pred.rows());
}

}  // namespace

std::vector<OpEntry> data_ops() {
    return {
        // One kernel for both types: it moves bytes of any dtype.
        {"gather_rows", {}, 1, 2, 1, gather_kernel, gather_kernel, check_gather},
        {"dense_gathered",
         {"activation", "p0", "p1"},
         2,
         4,
         2,
         dense_gathered_kernel<float>,
         dense_gathered_kernel<double>,
         check_dense_gathered},
        {"dense_backward_weights_gathered",
         {},
         2,
         3,
         1,
         weights_gathered_kernel<float>,
         weights_gathered_kernel<double>,
         check_weights_gathered},
        {"top_k_correct", {"k"}, 2, 2, 1, top_k_kernel<float>, top_k_kernel<double>, check_top_k},
        {"binary_correct",
         {"threshold"},
         2,
         2,
         1,
         binary_correct_kernel<float>,
         binary_correct_kernel<double>,
         check_binary_correct},
    };
}

}  // namespace fastprop
