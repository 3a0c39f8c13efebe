#pragma once
/// @file
/// @brief NumPy arrays as TensorViews: no copy, no conversion; what does not fit is an error.

#include <pybind11/numpy.h>

#include "core/check.h"
#include "core/tensor_view.h"

namespace fastprop {

inline DType dtype_of(const pybind11::dtype& dtype, const char* function) {
    const char kind = dtype.kind();
    const auto size = dtype.itemsize();
    if (kind == 'f' && size == 4) return DType::f32;
    if (kind == 'f' && size == 8) return DType::f64;
    if (kind == 'i' && size == 4) return DType::i32;
    if (kind == 'i' && size == 8) return DType::i64;
    if ((kind == 'u' || kind == 'b') && size == 1) return DType::u8;
    throw TypeError(
        concat(function, ": unsupported dtype ", pybind11::str(dtype).cast<std::string>()));
}

/// A view for reading, or for writing if `writable`.
inline TensorView view_of_array(const pybind11::array& array, bool writable, const char* function) {
    require((array.flags() & pybind11::array::c_style) != 0, function,
            ": expects contiguous row-major arrays");
    require(!writable || array.writeable(), function, ": an output array is read-only");
    require(array.ndim() <= kMaxRank, function, ": at most ", kMaxRank, " axes, got ",
            array.ndim());
    TensorView view;
    // An empty array may have no memory of its own; null would mean an absent operand.
    static char nothing[64];
    view.data = const_cast<void*>(array.data());
    if (view.data == nullptr) view.data = nothing;
    view.dtype = dtype_of(array.dtype(), function);
    view.rank = static_cast<int>(array.ndim());
    for (int i = 0; i < view.rank; ++i) view.shape[i] = array.shape(i);
    return view;
}

}  // namespace fastprop
