#pragma once
/// @file
/// @brief Batch, layer, RMS and group normalization: statistics, forward, and both halves of
/// backward.
///
/// Batch normalization has statistics of columns, the others of parts of rows: a row's `columns`
/// elements are `groups` groups of neighbours (one for layer and RMS normalization). Statistics are
/// passed on, so that backward does not compute them again. xhat = (x - mean) rstd in all of them.

#include "core/types.h"

namespace fastprop {

// ---- Columns: batch normalization --------------------------------------------------------------

constexpr Index kBatchMoments = 3;
/// For every column of `part` its mean, 1 / sqrt(variance + eps), and the variance with rows - 1
/// as the divisor (0 for one row). In blocks whose means and squares are combined in order (Chan,
/// Golub & LeVeque 1979): one pass over memory, and no cancellation however large the mean.
template <class T>
void batch_moments(const T* x, T* moments, Index rows, Index columns, Range part, double eps);

/// running = (1 - share) running + share moment, of the means and of the variances of `part`.
template <class T>
void running_moments(const T* moments, T* mean, T* variance, Range part, double share);

/// y = xhat w + b; w and b both given or both null.
template <class T>
void batch_norm(const T* x, const T* mean, const T* rstd, const T* w, const T* b, T* y, Index rows,
                Index columns);

/// For every column of `part` the sums of dy xhat and of dy: dw and db, side by side.
template <class T>
void batch_norm_backward_weights(const T* x, const T* mean, const T* rstd, const T* dy, T* sums,
                                 Index rows, Index columns, Range part);

/// dx = w rstd (dy - (db + xhat dw) / batch); w may be null. `rows` of the `batch` that the sums
/// are of.
template <class T>
void batch_norm_backward_data(const T* x, const T* mean, const T* rstd, const T* dy, const T* dw,
                              const T* db, const T* w, T* dx, Index rows, Index columns,
                              Index batch);

// ---- Rows: layer, RMS and group normalization --------------------------------------------------

/// For every group of every row its mean and 1 / sqrt(variance + eps); not centered, 0 and
/// 1 / sqrt(mean square + eps).
template <class T>
void layer_moments(const T* x, T* moments, Index rows, Index columns, Index groups, double eps,
                   bool centered);

/// y = xhat w + b; w, and then b, may be null.
template <class T>
void layer_norm(const T* x, const T* moments, const T* w, const T* b, T* y, Index rows,
                Index columns, Index groups);

/// For every column of `part` the sums of dy xhat and of dy: dw and db, side by side.
template <class T>
void layer_norm_backward_weights(const T* x, const T* moments, const T* dy, T* sums, Index rows,
                                 Index columns, Index groups, Range part);

/// dx = rstd (d - mean(d) - xhat mean(d xhat)) with d = dy w; not centered, without mean(d).
template <class T>
void layer_norm_backward_data(const T* x, const T* moments, const T* dy, const T* w, T* dx,
                              Index rows, Index columns, Index groups, bool centered);

}  // namespace fastprop
