#pragma once
/// @file
/// @brief Losses: the value of every row and the gradient of the predictions, together or apart.
///
/// A row is one index of axis 0. An elementwise loss averages (or sums) the elements of its row.
/// Each function computes what it is given room for: a null `row_loss`, `dpred` or `daux` is left
/// out, and the bits of the others are the same as when everything is asked for at once. Gradients
/// are scaled by `g_rows[row]`, the derivative of the objective with respect to that row's loss.
/// `dpred` may be `pred`.

#include <cstdint>

#include "core/types.h"

namespace fastprop {

enum class LossKind {
    mse,
    mae,
    huber,
    log_cosh,
    quantile,
    hinge,
    poisson_nll,
    gaussian_nll,
    kl_div,
    binary_cross_entropy,
    binary_focal,
    elastic_net
};

struct LossOptions {
    bool mean = true;       ///< row loss = mean of its elements, else their sum
    double delta = 1.0;     ///< huber: where the square turns into a line
    bool log_input = true;  ///< poisson_nll: predictions are logarithms of the rate
    bool full = false;      ///< poisson_nll, gaussian_nll: with the terms that pred does not enter
    double eps = 1e-8;      ///< poisson_nll: added to the rate; gaussian_nll: least variance
    bool log_target = false;  ///< kl_div: targets are logarithms of probabilities
    double gamma = 2.0;       ///< binary_focal: exponent of the probability of being wrong
    double alpha = -1.0;      ///< binary_focal: weight of positives, 1 - alpha that of negatives;
                              ///< negative: both weigh 1
    double l1 = 0.0;          ///< elastic_net: l1 |w| + l2 w^2, without a target
    double l2 = 0.0;
};

/// Where the third operand of a loss (variance, pos_weight, quantile) of an element is. A row
/// consists of segments; aux stays the same, or runs along, within a segment.
template <class T>
struct AuxLayout {
    const T* data = nullptr;
    Index segment = 1;         ///< elements in a segment
    Index row_stride = 0;      ///< from row to row
    Index segment_stride = 0;  ///< from segment to segment
    bool broadcast = true;     ///< one value for the whole segment

    const T* at(Index row, Index segment_index) const {
        return data + row * row_stride + segment_index * segment_stride;
    }
    bool is_constant() const { return broadcast && row_stride == 0 && segment_stride == 0; }
};

/// One value for everything.
template <class T>
AuxLayout<T> aux_constant(const T* value, Index row_size) {
    return {value, row_size, 0, 0, true};
}
/// As many values as predictions.
template <class T>
AuxLayout<T> aux_elementwise(const T* values, Index row_size) {
    return {values, row_size, row_size, 0, false};
}
/// One value for each index of the last axis, the same for every row.
template <class T>
AuxLayout<T> aux_last_axis(const T* values, Index last) {
    return {values, last, 0, 0, false};
}
/// One value for each vector along the last axis.
template <class T>
AuxLayout<T> aux_per_vector(const T* values, Index row_size, Index last) {
    return {values, last, row_size / last, 1, true};
}

/// `aux` is ignored by the losses that have no third operand (it must still point to one value);
/// `daux` is written by gaussian_nll only and has the layout of `aux`.
template <class T>
void elementwise_loss(LossKind kind, const T* pred, const T* target, const T* g_rows,
                      const AuxLayout<T>& aux, T* row_loss, T* dpred, T* daux, Index rows,
                      Index row_size, const LossOptions& options);

/// The gradient of the penalty LossKind::elastic_net, added to another one in the same pass:
///     out = other + g_rows[row] (l1 sign(w) + 2 l2 w)
/// `out` may be `other`.
template <class T>
void elastic_net_add(const T* weight, const T* g_rows, const T* other, T* out, Index rows,
                     Index row_size, const LossOptions& options);

/// Softmax and cross-entropy of logits pred[rows, classes] with labels in [0, classes):
///     loss = -sum_j q_j log_softmax(pred)_j,   q_j = w_j ((1 - s) [j == label] + s / classes)
/// with label smoothing s and class weights w (null: 1). A label out of range makes the row NaN.
template <class T>
void cross_entropy(const T* pred, const std::int64_t* labels, const T* g_rows,
                   const T* class_weight, T* row_loss, T* dpred, Index rows, Index classes,
                   double label_smoothing);

/// The focal loss of softmax: with c = -log_softmax(pred)_label
///     loss = w_label (1 - exp(-c))^gamma c
template <class T>
void focal(const T* pred, const std::int64_t* labels, const T* g_rows, const T* class_weight,
           T* row_loss, T* dpred, Index rows, Index classes, double gamma);

/// Cross-entropy with target[rows, classes] in place of [j == label].
template <class T>
void cross_entropy_probs(const T* pred, const T* target, const T* g_rows, const T* class_weight,
                         T* row_loss, T* dpred, Index rows, Index classes, double label_smoothing);

}  // namespace fastprop
