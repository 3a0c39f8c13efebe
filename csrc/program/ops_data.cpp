/// @file
/// @brief Batches and metrics in the op table.

#include <algorithm>
#include <cstring>

#include "kernels/gather.h"
#include "kernels/metric.h"
#include "program/op.h"

namespace fastprop {
namespace {

/// gather_rows(source[, order]) -> batch: rows order[i] of any dtype. Without an order, the rows
/// that the Program's step is made of.
void gather_kernel(const Call& call, const Team& team) {
    const TensorView& source = call.in[0];
    const TensorView& batch = call.out[0];
    const Range rows = team.slice(batch.rows());
    if (rows.empty()) return;
    const std::size_t row_bytes =
        static_cast<std::size_t>(batch.row_size()) * dtype_size(batch.dtype);
    const std::int64_t* order = call.has(1) ? call.in[1].as<std::int64_t>() : call.step->order;
    gather_rows(source.data, order + rows.begin,
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
    if (call.has(1)) {
        const TensorView& order = call.in[1];
        require(order.dtype == DType::i64 && order.size() == batch.rows(),
                "gather_rows: order wants ", batch.rows(), " int64, got ", order.size(), " ",
                dtype_name(order.dtype));
        return;
    }
    // A Program brings the order of its steps later; it is not there yet when it is built.
    require(call.step == nullptr || call.step->order != nullptr, "gather_rows: order is missing");
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
