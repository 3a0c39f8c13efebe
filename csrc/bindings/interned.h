#pragma once
/// @file
/// @brief Names that C++ asks objects of Python for again and again.

#include <pybind11/pybind11.h>

namespace fastprop {

/// The one string of Python with this text, never given back.
inline PyObject* interned(const char* text) {
    PyObject* name = PyUnicode_InternFromString(text);
    if (name == nullptr) throw pybind11::error_already_set();
    return name;
}

/// One string each: a new one in every call would take a place in Python's cache of attributes.
struct Names {
    PyObject* attributes = interned("attributes");
    PyObject* best = interned("best");
    PyObject* call = interned("call");
    PyObject* choosing = interned("choosing");
    PyObject* index = interned("index");
    PyObject* latest = interned("latest");
    PyObject* next = interned("next");
    PyObject* parameters = interned("parameters");
    PyObject* program = interned("program");
    PyObject* saved = interned("saved");
    PyObject* slots = interned("slots");
    PyObject* step_scalars = interned("step_scalars");
    PyObject* steps = interned("steps");
    PyObject* threads = interned("threads");
    PyObject* training = interned("training");
};

inline const Names& names() {
    static const Names all;
    return all;
}

}  // namespace fastprop
