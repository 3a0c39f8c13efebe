#include "bindings/watched_places.h"

#include <algorithm>
#include <cstring>

#include "bindings/tensor_slots.h"
#include "core/check.h"

namespace py = pybind11;

namespace fastprop {
namespace {

bool truth(int answer) {
    if (answer < 0) throw py::error_already_set();
    return answer > 0;
}

/// Floats that are written alike: zeros differ by their signs, and NaN is like any other.
bool same_float(PyObject* a, PyObject* b) {
    const double x = PyFloat_AS_DOUBLE(a), y = PyFloat_AS_DOUBLE(b);
    return std::memcmp(&x, &y, sizeof x) == 0 || (x != x && y != y);
}

/// Whether equality of two objects of this class says that they are written alike.
bool compares_by_text(PyObject* value) {
    return PyLong_CheckExact(value) || PyUnicode_CheckExact(value) || PyBytes_CheckExact(value);
}

}  // namespace

WatchedPlaces::WatchedPlaces(const py::list& items, const py::list& cells, const py::list& lists,
                             const py::list& tensors, const py::object& gone,
                             const py::tuple& plain)
    : gone_(kept(gone)), plain_(kept(plain)) {
    const auto part = [&](const py::handle& item, std::size_t i) {
        return kept(py::reinterpret_borrow<py::tuple>(item)[i]);
    };
    for (const py::handle item : items)
        items_.push_back({part(item, 0), part(item, 1), part(item, 2)});
    for (const py::handle item : cells) {
        require(PyCell_Check(part(item, 0)), "WatchedPlaces: expects cells");
        cells_.push_back({part(item, 0), part(item, 1)});
    }
    for (const py::handle item : lists) {
        require(PyList_Check(part(item, 0)) && PyList_Check(part(item, 1)),
                "WatchedPlaces: expects lists");
        lists_.push_back({part(item, 0), part(item, 1)});
    }
    for (const py::handle item : tensors) {
        require(is_tensor(part(item, 0)), "WatchedPlaces: expects Tensors");
        tensors_.push_back({part(item, 0), PyLong_AsLongLong(part(item, 1))});
        if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    }
}

bool WatchedPlaces::same_value(PyObject* found, PyObject* value) const {
    if (found == value) return true;
    if (Py_TYPE(found) != Py_TYPE(value)) return false;
    if (PyFloat_CheckExact(value)) return same_float(found, value);
    if (compares_by_text(value)) return truth(PyObject_RichCompareBool(found, value, Py_EQ));
    if (!truth(PyObject_IsInstance(value, plain_))) return false;
    const py::object now = owned(PyObject_Repr(found)), before = owned(PyObject_Repr(value));
    return truth(PyObject_RichCompareBool(now.ptr(), before.ptr(), Py_EQ));
}

bool WatchedPlaces::same_item(const Item& item) const {
    py::object found;
    if (PyDict_CheckExact(item.mapping)) {
        found = py::reinterpret_borrow<py::object>(PyDict_GetItemWithError(item.mapping, item.key));
        if (!found && PyErr_Occurred() != nullptr) throw py::error_already_set();
    } else {  // the names of a class
        found = py::reinterpret_steal<py::object>(PyObject_GetItem(item.mapping, item.key));
        if (!found && PyErr_ExceptionMatches(PyExc_KeyError) == 0) throw py::error_already_set();
        if (!found) PyErr_Clear();
    }
    return same_value(found ? found.ptr() : gone_, item.value);
}

bool WatchedPlaces::same_elements(PyObject* list, PyObject* before) const {
    const Py_ssize_t count = PyList_GET_SIZE(before);
    // A comparison may run Python, which may change the list.
    for (Py_ssize_t i = 0; i < count && PyList_GET_SIZE(list) == count; ++i) {
        const auto found = py::reinterpret_borrow<py::object>(PyList_GET_ITEM(list, i));
        if (!same_value(found.ptr(), PyList_GET_ITEM(before, i))) return false;
    }
    return PyList_GET_SIZE(list) == count;
}

bool WatchedPlaces::same() const {
    const auto item = [&](const Item& i) { return same_item(i); };
    const auto cell = [&](const Held& c) {
        const auto found = py::reinterpret_borrow<py::object>(PyCell_GET(c.holder));
        return same_value(found ? found.ptr() : gone_, c.value);
    };
    const auto tensor = [](const Timed& t) { return time_of(t.tensor) == t.time; };
    const auto list = [&](const Held& l) { return same_elements(l.holder, l.value); };
    return std::all_of(items_.begin(), items_.end(), item) &&
           std::all_of(cells_.begin(), cells_.end(), cell) &&
           std::all_of(tensors_.begin(), tensors_.end(), tensor) &&
           std::all_of(lists_.begin(), lists_.end(), list);
}

}  // namespace fastprop
