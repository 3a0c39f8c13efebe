#pragma once
/// @file
/// @brief The slots of Python's class Tensor, read and written where its member descriptors say.

#include <pybind11/pybind11.h>

#include <array>
#include <utility>

namespace fastprop {

enum Slot {
    slot_data,
    slot_spec,
    slot_shape,
    slot_dtype,
    slot_op,
    slot_inputs,
    slot_attrs,
    slot_requires_grad,
    slot_grad,
    slot_hooks,
    slot_time,
    slot_scope,
    slot_saved,  ///< bytes that a derivative needs, or null
    kSlots
};

/// A Spec of Python's is a tuple.
enum SpecField { spec_shape, spec_dtype, spec_batched };

/// Python's class, and the offsets of its slots, once `bind_tensor` has looked.
inline PyTypeObject* tensor_type = nullptr;
inline std::array<Py_ssize_t, kSlots> tensor_offsets{};
/// Python's class of Specs.
inline PyTypeObject* spec_type = nullptr;
/// Context variables that say what becomes of an op.
struct Modes {
    PyObject* grad_enabled = nullptr;  ///< whether derivatives are recorded
    PyObject* trace = nullptr;         ///< None where nothing is being traced
    PyObject* scope = nullptr;         ///< what symbolic Tensors are recorded for
    PyObject* observer = nullptr;      ///< called after every op that ran, where there is one
};
inline Modes modes;
/// Threads of every op and effect; 0: as many as its work is worth.
inline int eager_threads = 0;
/// Orders results, and changes of what they came from.
inline long long tensor_clock = 0;

inline bool is_tensor(PyObject* object) {
    return tensor_type != nullptr && PyObject_TypeCheck(object, tensor_type) != 0;
}

inline PyObject*& slot(PyObject* tensor, Slot which) {
    return *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(tensor) + tensor_offsets[which]);
}

/// Puts something else into a slot.
inline void replace(PyObject* tensor, Slot which, PyObject* value) {
    Py_INCREF(value);
    PyObject* before = std::exchange(slot(tensor, which), value);
    Py_XDECREF(before);
}

/// Notes that a Tensor was made or changed now.
inline void set_time(PyObject* tensor) {
    PyObject* time = PyLong_FromLongLong(++tensor_clock);
    if (time == nullptr) throw pybind11::error_already_set();
    PyObject* before = std::exchange(slot(tensor, slot_time), time);
    Py_XDECREF(before);
}

inline long long time_of(PyObject* tensor) { return PyLong_AsLongLong(slot(tensor, slot_time)); }

inline bool requires_grad(PyObject* tensor) { return slot(tensor, slot_requires_grad) == Py_True; }
inline bool is_result(PyObject* tensor) { return slot(tensor, slot_op) != Py_None; }

/// A new reference that CPython's interface gave, or the error that it set.
inline pybind11::object owned(PyObject* object) {
    if (object == nullptr) throw pybind11::error_already_set();
    return pybind11::reinterpret_steal<pybind11::object>(object);
}

/// While it lives, no eager op is told to the observer: a derivative rule is one thing, whatever
/// ops it is made of.
class Unobserved {
public:
    Unobserved() { ++depth; }
    ~Unobserved() { --depth; }
    Unobserved(const Unobserved&) = delete;
    Unobserved& operator=(const Unobserved&) = delete;
    static bool now() { return depth > 0; }

private:
    inline static thread_local int depth = 0;
};

}  // namespace fastprop
