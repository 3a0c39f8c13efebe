#pragma once
/// @file
/// @brief New arrays and Tensors, made as CPython's and NumPy's C interface do it fastest.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "bindings/tensor_slots.h"
#include "core/check.h"
#include "core/tensor_view.h"

namespace fastprop {

/// Fills a slot of a new Tensor.
inline void set(PyObject* tensor, Slot which, PyObject* value) {
    Py_INCREF(value);
    slot(tensor, which) = value;
}

/// An array of its own, or one on `data`.
inline pybind11::array new_array(PyObject* extents, PyObject* type, void* data = nullptr,
                                 int flags = 0) {
    Py_intptr_t shape[kMaxRank] = {};
    const Py_ssize_t rank = PyTuple_GET_SIZE(extents);
    require(rank <= kMaxRank, "apply: at most ", kMaxRank, " axes, got ", rank);
    for (Py_ssize_t i = 0; i < rank; ++i) shape[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(extents, i));
    if (PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
    const auto& numpy = pybind11::detail::npy_api::get();
    Py_INCREF(type);  // the call takes a reference
    return pybind11::reinterpret_steal<pybind11::array>(
        owned(numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, type, static_cast<int>(rank), shape,
                                          nullptr, data, flags, nullptr))
            .release());
}

/// The same memory under another shape. Of a value that derivatives may need it is read-only, and
/// so is every view of it.
inline pybind11::array view_of_memory(PyObject* array, PyObject* spec, bool read_only) {
    using Api = pybind11::detail::npy_api;
    const auto* from = pybind11::detail::array_proxy(array);
    int flags = from->flags & (Api::NPY_ARRAY_ALIGNED_ | Api::NPY_ARRAY_WRITEABLE_);
    if (read_only) flags &= ~Api::NPY_ARRAY_WRITEABLE_;
    pybind11::array view = new_array(PyTuple_GET_ITEM(spec, spec_shape),
                                     PyTuple_GET_ITEM(spec, spec_dtype), from->data, flags);
    Py_INCREF(array);  // the call takes a reference
    if (Api::get().PyArray_SetBaseObject_(view.ptr(), array) < 0)
        throw pybind11::error_already_set();
    return view;
}

/// How a result came about; a value that nobody differentiates has no history.
struct History {
    PyObject* op = Py_None;
    PyObject* inputs = nullptr;  ///< a tuple, which the call takes
    PyObject* attrs = nullptr;
    PyObject* scope = Py_None;
    bool differentiable = false;
};

/// The result of an op.
inline pybind11::object new_result(const pybind11::object& value, PyObject* spec,
                                   const History& history = {}) {
    static PyObject* const no_inputs = owned(PyTuple_New(0)).release().ptr();
    static PyObject* const no_attrs = owned(PyDict_New()).release().ptr();
    pybind11::object inputs = pybind11::reinterpret_steal<pybind11::object>(history.inputs);
    pybind11::object result = owned(tensor_type->tp_alloc(tensor_type, 0));
    PyObject* y = result.ptr();
    set(y, slot_data, value.ptr());
    set(y, slot_spec, spec);
    set(y, slot_shape, PyTuple_GET_ITEM(spec, spec_shape));
    set(y, slot_dtype, PyTuple_GET_ITEM(spec, spec_dtype));
    set(y, slot_op, history.op);
    set(y, slot_inputs, inputs ? inputs.ptr() : no_inputs);
    set(y, slot_attrs, history.attrs != nullptr ? history.attrs : no_attrs);
    set(y, slot_scope, history.scope);
    set(y, slot_requires_grad, history.differentiable ? Py_True : Py_False);
    set(y, slot_grad, Py_None);
    set(y, slot_hooks, Py_None);
    set_time(y);
    return result;
}

/// A Tensor that no op made.
inline pybind11::object new_leaf(const pybind11::array& data, PyObject* spec) {
    static PyObject* const no_inputs = owned(PyTuple_New(0)).release().ptr();
    static PyObject* const no_attrs = owned(PyDict_New()).release().ptr();
    static PyObject* const never = owned(PyLong_FromLong(0)).release().ptr();
    pybind11::object tensor = owned(tensor_type->tp_alloc(tensor_type, 0));
    PyObject* t = tensor.ptr();
    set(t, slot_data, data.ptr());
    set(t, slot_spec, spec);
    set(t, slot_shape, PyTuple_GET_ITEM(spec, spec_shape));
    set(t, slot_dtype, PyTuple_GET_ITEM(spec, spec_dtype));
    set(t, slot_inputs, no_inputs);
    set(t, slot_attrs, no_attrs);
    for (const Slot none : {slot_op, slot_grad, slot_hooks, slot_scope}) set(t, none, Py_None);
    set(t, slot_requires_grad, Py_False);
    set(t, slot_time, never);
    return tensor;
}

/// The value of a context variable.
inline pybind11::object value_of(PyObject* context_variable) {
    PyObject* value = nullptr;
    if (PyContextVar_Get(context_variable, nullptr, &value) < 0)
        throw pybind11::error_already_set();
    return pybind11::reinterpret_steal<pybind11::object>(value);
}

/// Sets a context variable for as long as this lives.
class ContextValue {
public:
    ContextValue(PyObject* variable, PyObject* value)
        : variable_(variable), token_(owned(PyContextVar_Set(variable, value))) {}
    ~ContextValue() {
        if (PyContextVar_Reset(variable_, token_.ptr()) < 0) PyErr_Clear();
    }
    ContextValue(const ContextValue&) = delete;
    ContextValue& operator=(const ContextValue&) = delete;

private:
    PyObject* variable_;
    pybind11::object token_;
};

}  // namespace fastprop
