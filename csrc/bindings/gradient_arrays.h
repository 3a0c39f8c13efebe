#pragma once
/// @file
/// @brief Sums and copies of derivatives that nobody records or looks at, without a call of Python.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstring>

#include "bindings/arrays.h"
#include "bindings/new_tensor.h"
#include "bindings/tensor_slots.h"
#include "core/denormals.h"
#include "program/op.h"

namespace fastprop {

/// Whether ops run at once, without a history, and unobserved.
inline bool nobody_looks() {
    return modes.observer == nullptr && value_of(modes.grad_enabled).ptr() == Py_False &&
           value_of(modes.trace).is_none();
}

/// A new array like that of a Tensor.
inline pybind11::array array_like(PyObject* tensor) {
    PyObject* spec = slot(tensor, slot_spec);
    return new_array(PyTuple_GET_ITEM(spec, spec_shape), PyTuple_GET_ITEM(spec, spec_dtype));
}

inline bool is_small_array(PyObject* tensor) {
    constexpr pybind11::ssize_t kSmall = 1 << 14;  // elements; more are worth threads
    if (!is_tensor(tensor) || slot(tensor, slot_data) == Py_None) return false;
    const auto array = pybind11::reinterpret_borrow<pybind11::array>(slot(tensor, slot_data));
    return array.size() < kSmall && array.dtype().kind() == 'f';
}

/// x + y.
inline pybind11::object sum_of(PyObject* x, PyObject* y) {
    const bool plain = is_small_array(x) && is_small_array(y) &&
                       slot(x, slot_spec) == slot(y, slot_spec) && nobody_looks();
    if (!plain) return owned(PyNumber_Add(x, y));
    static const OpEntry& entry = find_op("add");
    pybind11::array to = array_like(x);
    TensorView in[2];
    PyObject* const terms[2] = {x, y};
    for (int i = 0; i < 2; ++i)
        in[i] = view_of_array(
            pybind11::reinterpret_borrow<pybind11::array>(slot(terms[i], slot_data)), false, "add");
    const TensorView out = view_of_array(to, true, "add");
    const StepContext step;
    const Call call{in, 2, &out, 1, nullptr, &step};
    check_call(entry, call);
    const Kernel kernel = select_kernel(entry, call);
    {
        const FlushDenormals flush;
        kernel(call, Team(0, 1, nullptr));
    }
    return new_result(to, slot(x, slot_spec));
}

/// A Tensor with memory of its own; `by_op` makes it where somebody looks.
inline pybind11::object copy_of(PyObject* x, PyObject* by_op) {
    if (slot(x, slot_data) == Py_None || !nobody_looks())
        return owned(PyObject_CallFunctionObjArgs(by_op, x, nullptr));
    const auto from = pybind11::reinterpret_borrow<pybind11::array>(slot(x, slot_data));
    pybind11::array to = array_like(x);
    std::memcpy(to.mutable_data(), from.data(), static_cast<std::size_t>(from.nbytes()));
    return new_result(to, slot(x, slot_spec));
}

}  // namespace fastprop
