#pragma once
/// @file
/// @brief Names of attributes that C++ asks for again and again.

#include <pybind11/pybind11.h>

namespace fastprop {

/// The one string of Python with this text, never given back.
inline PyObject* interned(const char* text) {
    PyObject* name = PyUnicode_InternFromString(text);
    if (name == nullptr) throw pybind11::error_already_set();
    return name;
}

}  // namespace fastprop
