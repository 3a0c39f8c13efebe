#pragma once
/// @file
/// @brief What a compiled function read besides its arguments, compared before every call.

#include <pybind11/pybind11.h>

#include <vector>

#include "bindings/collected.h"

namespace fastprop {

/// Places where Python finds values by a name, and what was there; see tracing/watched.py.
class WatchedPlaces {
public:
    /// `items`: (mapping, key, value); `cells`: (cell, value); `lists`: (list, its elements);
    /// `tensors`: (Tensor, its time). `gone` is the value where nothing was; numbers and strings,
    /// what is of the classes `plain`, are compared by what they are, all else by identity.
    WatchedPlaces(const pybind11::list& items, const pybind11::list& cells,
                  const pybind11::list& lists, const pybind11::list& tensors,
                  const pybind11::object& gone, const pybind11::tuple& plain);

    /// Whether everything is as it was.
    bool same() const;

    Kept kept;

private:
    struct Item {
        PyObject* mapping;
        PyObject* key;
        PyObject* value;
    };
    struct Held {
        PyObject* holder;  ///< a cell or a list
        PyObject* value;
    };
    struct Timed {
        PyObject* tensor;
        long long time;
    };

    bool same_value(PyObject* found, PyObject* value) const;
    bool same_item(const Item& item) const;
    bool same_elements(PyObject* list, PyObject* before) const;

    std::vector<Item> items_;
    std::vector<Held> cells_;
    std::vector<Held> lists_;
    std::vector<Timed> tensors_;
    PyObject* gone_;
    PyObject* plain_;
};

}  // namespace fastprop
