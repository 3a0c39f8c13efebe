#pragma once
/// @file
/// @brief Panels: the order in which the register tile reads its right operand.
///
/// A matrix B [k, n] becomes [ceil(n / width)][k][width], the last panel padded with zeros, so a
/// tile reads one contiguous stream. `width` is `panel_width<T>()` of this instruction-set level.

#include "core/types.h"

namespace fastprop {

template <class T>
Index panel_width();

/// The same by dtype, for those who plan buffers; 0 for types without panels.
Index packed_panel_width(DType dtype);

/// Elements of the packed form of B [k, n].
template <class T>
Index packed_size(Index k, Index n);

/// Packs a block of B [k, n], rows `stride` apart; panels are `panel_stride` elements apart.
template <class T>
void pack_panels(const T* b, T* packed, Index k, Index n, Index stride, Index panel_stride);

/// The same from the transposed matrix [n, k]; `first` is the lane of panel 0 that row 0 goes to.
/// Lanes before `first` keep what they hold; those after the last row are zeroed if `pad`.
template <class T>
void pack_panels_transposed(const T* bt, T* packed, Index k, Index n, Index stride,
                            Index panel_stride, Index first, bool pad);

/// Rows `rows` of B [k, n] into its panels. Weights for the forward pass, and dz for dW.
template <class T>
void pack_rows(const T* b, T* packed, Index k, Index n, Range rows);

/// Rows `rows` of W [in, out] into the panels of B = W^T [out, in], for dx = dz W^T.
template <class T>
void pack_rows_transposed(const T* w, T* packed, Index in, Index out, Range rows);

/// Packs a strip of A, stored transposed as [k, ...] with rows `stride` apart: the first `width`
/// columns, k-major and contiguous.
template <class T>
void pack_strip(const T* at, T* packed, Index k, Index width, Index stride);

/// The same from A as rows `stride` apart: the first k columns of `width` rows. Writes whole
/// packets, so up to a packet behind the strip is overwritten.
template <class T>
void pack_strip_transposed(const T* a, T* packed, Index k, Index width, Index stride);

/// y [columns, rows] = x^T, rows `y_stride` and `x_stride` apart.
template <class T>
void transpose_block(const T* x, Index x_stride, Index rows, Index columns, T* y, Index y_stride);

}  // namespace fastprop
