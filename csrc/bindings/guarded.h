#pragma once
/// @file
/// @brief Functions that CPython calls directly: what they throw becomes Python's exception.

#include <pybind11/pybind11.h>

#include <exception>
#include <new>

#include "core/check.h"

namespace fastprop {

/// No C++ exception may pass into the interpreter.
template <class F>
PyObject* guarded(const F& f) {
    try {
        return f().release().ptr();
    } catch (pybind11::error_already_set& error) {
        error.restore();
    } catch (const TypeError& error) {
        PyErr_SetString(PyExc_TypeError, error.what());
    } catch (const Error& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

}  // namespace fastprop
