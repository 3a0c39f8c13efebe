#pragma once
/// @file
/// @brief The dense layer y = f(x W + b), forward and backward.
///
/// x [rows, in], W [in, out], y [rows, out], row-major. Leading axes are flattened into rows. Every
/// function works on the rows (or the slice of W) that it is given, on one thread; results do not
/// depend on how the work is cut. Packed operands come from kernels/pack.h and give the same bits.

#include "core/types.h"
#include "kernels/activation.h"

namespace fastprop {

/// An activation and its parameters.
template <class T>
struct ActivationSpec {
    Activation kind = Activation{};
    T p0 = T(0);
    T p1 = T(0);
};

/// y = f(x W + b); b and z may be null; z gets x W + b.
template <class T>
void dense_forward(const T* x, const T* w, const T* b, T* y, T* z, Index rows, Index in, Index out,
                   const ActivationSpec<T>& f);

/// Columns `columns` of y and z, all rows; every pointer is to a whole matrix.
template <class T>
void dense_forward_columns(const T* x, const T* w, const T* b, T* y, T* z, Index rows, Index in,
                           Index out, Range columns, const ActivationSpec<T>& f);

/// The same as dense_forward with W packed by `pack_rows`.
template <class T>
void dense_forward_packed(const T* x, const T* wp, const T* b, T* y, T* z, Index rows, Index in,
                          Index out, const ActivationSpec<T>& f);

/// dx = (dz W^T) * f'(h), f the activation that made x; h null: dx = dz W^T. dx may be h.
template <class T>
void dense_backward_data(const T* dz, const T* w, const T* h, T* dx, Index rows, Index in,
                         Index out, const ActivationSpec<T>& f);

/// Columns `columns` of dx, all rows; every pointer is to a whole matrix.
template <class T>
void dense_backward_data_columns(const T* dz, const T* w, const T* h, T* dx, Index rows, Index in,
                                 Index out, Range columns, const ActivationSpec<T>& f);

/// The same as dense_backward_data with W packed by `pack_rows_transposed`.
template <class T>
void dense_backward_data_packed(const T* dz, const T* wtp, const T* h, T* dx, Index rows, Index in,
                                Index out, const ActivationSpec<T>& f);

/// Rows `slice` of dW = x^T dz, written to their place in dw [in, out].
template <class T>
void dense_backward_weights(const T* x, const T* dz, T* dw, Index rows, Index in, Index out,
                            Range slice);

/// The same with dz packed by `pack_rows`.
template <class T>
void dense_backward_weights_packed(const T* x, const T* dzp, T* dw, Index rows, Index in, Index out,
                                   Range slice);

/// Columns `slice` of db = sum over rows of dz, row after row.
template <class T>
void dense_backward_bias(const T* dz, T* db, Index rows, Index out, Range slice);

}  // namespace fastprop
