/// @file
/// @brief Tensors that no op made: arrays, numbers and constants that come up in every step.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/guarded.h"
#include "bindings/leaf.h"
#include "bindings/tensor_slots.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// The numbers given as a Tensor int64: those that name a stream of random numbers are new ones in
/// every call.
PyObject* integers(PyObject*, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        require(tensor_type != nullptr, "integers: bind_tensor comes first");
        py::array_t<std::int64_t> values(count);
        std::int64_t* to = values.mutable_data();
        for (Py_ssize_t i = 0; i < count; ++i) {
            to[i] = PyLong_AsLongLong(args[i]);
            if (to[i] == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
        }
        return leaf(values);
    });
}

/// Numbers beside Tensors, by their bits: the same few appear in every step (a look takes 0.05 µs,
/// in a dict of Python 0.2).
class Constants {
public:
    /// make(number, dtype), or what it gave before.
    py::object find(PyObject* make, PyObject* number, PyObject* type) {
        std::uint64_t bits = 0;
        if (PyFloat_CheckExact(number)) {
            const double value = PyFloat_AS_DOUBLE(number);
            std::memcpy(&bits, &value, sizeof bits);
        } else {
            int overflow = 0;
            bits = static_cast<std::uint64_t>(PyLong_AsLongLongAndOverflow(number, &overflow));
            if (PyErr_Occurred() != nullptr) throw py::error_already_set();
            if (overflow != 0)
                return owned(PyObject_CallFunctionObjArgs(make, number, type, nullptr));
        }
        PyTypeObject* kind = Py_TYPE(number);
        const std::uint64_t mixed = (bits ^ (bits >> 29) ^ reinterpret_cast<std::uintptr_t>(type) ^
                                     reinterpret_cast<std::uintptr_t>(kind)) *
                                    0x9E3779B97F4A7C15u;
        Entry& entry = entries_[mixed >> 56];
        if (entry.tensor && entry.bits == bits && entry.kind == kind && entry.type.ptr() == type)
            return entry.tensor;
        py::object made = owned(PyObject_CallFunctionObjArgs(make, number, type, nullptr));
        // What is in its place may run Python when it goes: not before the new one is there.
        const Entry before =
            std::exchange(entry, {bits, kind, py::reinterpret_borrow<py::object>(type), made});
        return made;
    }

private:
    struct Entry {
        std::uint64_t bits = 0;
        PyTypeObject* kind = nullptr;
        py::object type;
        py::object tensor;
    };
    std::array<Entry, 256> entries_;
};

PyObject* constant(PyObject* make, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        // Never given back, as modules are not.
        static Constants* const constants = new Constants;
        if (count != 2 || (PyFloat_CheckExact(args[0]) == 0 && PyLong_CheckExact(args[0]) == 0))
            throw TypeError("constant: expects a float or an int, and a dtype");
        return constants->find(make, args[0], args[1]);
    });
}

using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

/// CPython's table of methods holds functions of any signature under one type.
PyCFunction method_of(Fast function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace

void bind_leaves(py::module_& m) {
    m.def(
        "leaf",
        [](const py::array& array) {
            require(tensor_type != nullptr, "leaf: bind_tensor comes first");
            return leaf(array);
        },
        py::arg("array"),
        "A contiguous array of a supported dtype as a Tensor, without a look at it.");
    m.def(
        "constants",
        [](const py::function& make) {
            static PyMethodDef method = {"constant", method_of(&constant), METH_FASTCALL, nullptr};
            return owned(PyCFunction_New(&method, make.ptr()));
        },
        py::arg("make"),
        "A function that gives make(number, dtype) for a float or an int, made once as long as it "
        "comes up.");
    static PyMethodDef method = {"integers", method_of(&integers), METH_FASTCALL,
                                 "integers(*numbers: int) -> typing.Any\n\n"
                                 "The numbers as a Tensor int64."};
    m.attr("integers") = owned(PyCFunction_New(&method, nullptr));
}

}  // namespace fastprop
