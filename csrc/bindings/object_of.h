#pragma once
/// @file
/// @brief From an object of Python to the object of C++ in it, without pybind11's search by name.

#include <pybind11/pybind11.h>

namespace fastprop {

/// The T in an object of a class that pybind11 has bound to T; any other object goes through its
/// cast, which takes some 30 ns and throws where it does not fit.
template <class T>
T& object_of(pybind11::handle object) {
    static PyTypeObject* const type =
        reinterpret_cast<PyTypeObject*>(pybind11::type::of<T>().release().ptr());
    if (Py_TYPE(object.ptr()) == type) {
        auto* instance = reinterpret_cast<pybind11::detail::instance*>(object.ptr());
        if (instance->simple_layout && instance->simple_holder_constructed)
            return *static_cast<T*>(instance->simple_value_holder[0]);
    }
    return object.cast<T&>();
}

}  // namespace fastprop
