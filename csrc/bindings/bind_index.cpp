/// @file
/// @brief `x[…]`, index arrays and pieces of an axis: what they ask of the ops that do it.
///
/// To look at a key takes Python longer than the op that it asks for. Here are the usual keys;
/// whatever else there is, errors included, is for Python's own functions.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/guarded.h"
#include "bindings/leaf.h"
#include "bindings/tensor_slots.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// What Python hands over once.
struct IndexBound {
    PyObject* apply = nullptr;
    PyObject* take = nullptr;       ///< the op
    PyObject* axis_name = nullptr;  ///< ("axis",)
    PyObject* part = nullptr;       ///< (x, *key without arrays, a slice as four) -> Tensor
    PyObject* points = nullptr;     ///< (x, *indices) -> Tensor
    PyObject* other = nullptr;      ///< (x, key) -> Tensor, or the error that users see
} bound;

/// Arguments of a call of Python.
class Arguments {
public:
    static constexpr std::size_t kMost = 40;

    /// False where there are too many.
    bool add(PyObject* argument) {
        if (count_ == kMost) return false;
        own_[count_++] = argument;
        return true;
    }

    py::object call(PyObject* function, PyObject* names = nullptr) const {
        const auto named = names == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(names));
        return owned(PyObject_Vectorcall(function, own_.data(), count_ - named, names));
    }

private:
    std::array<PyObject*, kMost> own_;
    std::size_t count_ = 0;
};

bool is_array(PyObject* object) {
    return Py_TYPE(object) == py::detail::npy_api::get().PyArray_Type_;
}

bool has_shape(PyObject* x) {
    return is_tensor(x) && slot(x, slot_spec) != nullptr && slot(x, slot_data) != nullptr;
}

PyObject* shape_of(PyObject* x) { return PyTuple_GET_ITEM(slot(x, slot_spec), spec_shape); }
Py_ssize_t rank_of(PyObject* x) { return PyTuple_GET_SIZE(shape_of(x)); }

std::int64_t extent_of(PyObject* x, Py_ssize_t axis) {
    return PyLong_AsLongLong(PyTuple_GET_ITEM(shape_of(x), axis));
}

py::object number(std::int64_t value) { return owned(PyLong_FromLongLong(value)); }

/// The indices if all are in [0, count), else with negative ones counted from the end; None if one
/// is out of range or they are no contiguous int64.
py::object wrapped_index(const py::array& index, std::int64_t count) {
    if (index.dtype().kind() != 'i' || index.itemsize() != 8 ||
        (index.flags() & py::array::c_style) == 0)
        return py::none();
    const auto* values = static_cast<const std::int64_t*>(index.data());
    bool negative = false;
    for (py::ssize_t i = 0; i < index.size(); ++i) {
        if (values[i] < -count || values[i] >= count) return py::none();
        negative = negative || values[i] < 0;
    }
    if (!negative) return index;
    py::array_t<std::int64_t> wrapped(
        std::vector<py::ssize_t>(index.shape(), index.shape() + index.ndim()));
    std::int64_t* to = wrapped.mutable_data();
    for (py::ssize_t i = 0; i < index.size(); ++i) to[i] = values[i] + (values[i] < 0 ? count : 0);
    return std::move(wrapped);
}

/// Indices into `count` places as a Tensor; None where Python has to look at them.
py::object index_tensor(PyObject* index, std::int64_t count) {
    const bool tensor = has_shape(index);
    if (!tensor && !is_array(index)) return py::none();
    PyObject* data = tensor ? slot(index, slot_data) : index;
    if (data == Py_None) return py::reinterpret_borrow<py::object>(index);  // it will be known then
    const py::object wrapped = wrapped_index(py::reinterpret_borrow<py::array>(data), count);
    if (wrapped.is_none()) return wrapped;
    if (tensor && wrapped.ptr() == data) return py::reinterpret_borrow<py::object>(index);
    return leaf(py::reinterpret_borrow<py::array>(wrapped));
}

char kind_of(PyObject* object) {
    if (is_array(object)) return py::reinterpret_borrow<py::array>(object).dtype().kind();
    if (!has_shape(object)) return '\0';
    PyObject* type = PyTuple_GET_ITEM(slot(object, slot_spec), spec_dtype);
    return py::reinterpret_borrow<py::dtype>(type).kind();
}

Py_ssize_t rank_of_index(PyObject* index) {
    return is_array(index) ? py::reinterpret_borrow<py::array>(index).ndim() : rank_of(index);
}

/// `x[key]`.
class Subscript {
public:
    Subscript(PyObject* x, PyObject* key) : x_(x), key_(key) {}

    py::object run() const {
        py::object found;
        if (has_shape(x_)) {
            const bool several = PyTuple_CheckExact(key_) != 0;
            PyObject* const* keys =
                several ? reinterpret_cast<PyTupleObject*>(key_)->ob_item : &key_;
            const Py_ssize_t count = several ? PyTuple_GET_SIZE(key_) : 1;
            if (count > 0) found = usual(keys, count);
        }
        if (found) return found;
        return owned(PyObject_CallFunctionObjArgs(bound.other, x_, key_, nullptr));
    }

private:
    /// Nothing where this is none of the usual keys.
    py::object usual(PyObject* const* keys, Py_ssize_t count) const {
        PyObject* last = keys[count - 1];
        switch (kind_of(last)) {
            case '\0':
                return by_part(keys, count);
            case 'i':
                if (count > rank_of(x_)) return {};
                if (std::all_of(keys, keys + count - 1, is_all)) return taken(last, count - 1);
                return by_points(keys, count);
            case 'b':
                return count == 1 && is_array(last) ? masked(last) : py::object();
            default:
                return {};
        }
    }

    /// A slice without bounds.
    static bool is_all(PyObject* item) {
        if (PySlice_Check(item) == 0) return false;
        const auto* slice = reinterpret_cast<PySliceObject*>(item);
        return slice->start == Py_None && slice->stop == Py_None && slice->step == Py_None;
    }

    /// Integers, slices, None and an ellipsis.
    py::object by_part(PyObject* const* keys, Py_ssize_t count) const {
        Arguments arguments;
        arguments.add(x_);
        bool fits = true;
        for (Py_ssize_t i = 0; i < count && fits; ++i) {
            PyObject* item = keys[i];
            if (PySlice_Check(item) != 0) {
                const auto* slice = reinterpret_cast<PySliceObject*>(item);
                fits = arguments.add(reinterpret_cast<PyObject*>(&PySlice_Type));
                for (PyObject* bound_of : {slice->start, slice->stop, slice->step})
                    fits = fits && (bound_of == Py_None || PyLong_CheckExact(bound_of) != 0) &&
                           arguments.add(bound_of);
            } else {
                fits = (item == Py_None || item == Py_Ellipsis || PyLong_CheckExact(item) != 0) &&
                       arguments.add(item);
            }
        }
        return fits ? arguments.call(bound.part) : py::object();
    }

    /// An array of integers along an axis.
    py::object taken(PyObject* index, Py_ssize_t axis) const {
        if (rank_of_index(index) == 0) return {};
        const py::object chosen = index_tensor(index, extent_of(x_, axis));
        return chosen.is_none() ? py::object() : take(chosen.ptr(), axis);
    }

    py::object take(PyObject* index, Py_ssize_t axis) const {
        const py::object along = number(axis);
        Arguments arguments;
        for (PyObject* argument : {bound.take, x_, index, along.ptr()}) arguments.add(argument);
        return arguments.call(bound.apply, bound.axis_name);
    }

    /// An array of integers for each of the first axes.
    py::object by_points(PyObject* const* keys, Py_ssize_t count) const {
        Arguments arguments;
        arguments.add(x_);
        std::array<py::object, kMaxRank> indices;
        for (Py_ssize_t i = 0; i < count; ++i) {
            if (i >= kMaxRank || kind_of(keys[i]) != 'i') return {};
            py::object& index = indices[static_cast<std::size_t>(i)];
            index = index_tensor(keys[i], extent_of(x_, i));
            if (index.is_none()) return {};
            arguments.add(index.ptr());
        }
        return arguments.call(bound.points);
    }

    /// A mask of the first axis: the places of its ones.
    py::object masked(PyObject* key) const {
        const auto mask = py::reinterpret_borrow<py::array>(key);
        if (rank_of(x_) == 0 || mask.ndim() != 1 || mask.shape(0) != extent_of(x_, 0)) return {};
        const auto* bytes = static_cast<const char*>(mask.data());
        const py::ssize_t stride = mask.strides(0);
        py::ssize_t ones = 0;
        for (py::ssize_t i = 0; i < mask.shape(0); ++i) ones += bytes[i * stride] != 0 ? 1 : 0;
        py::array_t<std::int64_t> places(ones);
        std::int64_t* to = places.mutable_data();
        for (py::ssize_t i = 0; i < mask.shape(0); ++i) {
            if (bytes[i * stride] != 0) *to++ = i;
        }
        return take(leaf(places).ptr(), 0);
    }

    PyObject* x_;
    PyObject* key_;
};

/// Pieces of an axis one after another: of one extent, where the last may be shorter, or of those
/// in a list.
py::list pieces(PyObject* narrow, PyObject* x, PyObject* along, PyObject* sizes) {
    if (!has_shape(x)) throw TypeError("pieces: expects a Tensor");
    const Py_ssize_t axis = PyLong_AsSsize_t(along);
    require(axis >= 0 && axis < rank_of(x), "pieces: there is no axis ", axis);
    const std::int64_t extent = extent_of(x, axis);
    const bool listed = PyList_CheckExact(sizes) != 0;
    const std::int64_t size = listed ? 0 : PyLong_AsLongLong(sizes);
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    require(listed || size > 0, "pieces: size must be positive, got ", size);
    const Py_ssize_t count =
        listed ? PyList_GET_SIZE(sizes)
               : std::max<Py_ssize_t>(1, static_cast<Py_ssize_t>((extent + size - 1) / size));
    py::list found;
    std::int64_t start = 0;
    for (Py_ssize_t i = 0; i < count; ++i) {
        const std::int64_t length =
            listed ? PyLong_AsLongLong(PyList_GET_ITEM(sizes, i)) : std::min(size, extent - start);
        if (PyErr_Occurred() != nullptr) throw py::error_already_set();
        const py::object from = number(start);
        const py::object rows = number(length);
        Arguments arguments;
        for (PyObject* argument : {x, along, from.ptr(), rows.ptr()}) arguments.add(argument);
        found.append(arguments.call(narrow));
        start += length;
    }
    return found;
}

using Fast = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

/// CPython's table of methods holds functions of any signature under one type.
PyCFunction method_of(Fast function) {
    return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyObject* call_getitem(PyObject*, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        if (count != 2 || bound.other == nullptr)
            throw TypeError("getitem: expects a Tensor and a key");
        return Subscript(args[0], args[1]).run();
    });
}

PyObject* call_index_tensor(PyObject*, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        if (count != 2) throw TypeError("index_tensor: expects indices and how many places");
        const std::int64_t places = PyLong_AsLongLong(args[1]);
        if (PyErr_Occurred() != nullptr) throw py::error_already_set();
        return index_tensor(args[0], places);
    });
}

PyObject* call_pieces(PyObject*, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        if (count != 4) throw TypeError("pieces: expects narrow, a Tensor, an axis and sizes");
        return pieces(args[0], args[1], args[2], args[3]);
    });
}

}  // namespace

void bind_index(py::module_& m) {
    m.def(
        "bind_index",
        [](const py::object& apply, const py::object& take, const py::object& part,
           const py::object& points, const py::object& other) {
            const auto keep = [](const py::object& object) {
                return py::object(object).release().ptr();
            };
            bound.apply = keep(apply);
            bound.axis_name = keep(py::make_tuple("axis"));
            bound.take = keep(take);
            bound.part = keep(part);
            bound.points = keep(points);
            bound.other = keep(other);
        },
        py::arg("apply"), py::arg("take"), py::arg("part"), py::arg("points"), py::arg("other"),
        "Tell `getitem` the op `take`, and the functions of Python that do other keys.");
    static PyMethodDef methods[] = {
        {"getitem", method_of(&call_getitem), METH_FASTCALL,
         "getitem(x: typing.Any, key: typing.Any) -> typing.Any\n\nx[key]"},
        {"index_tensor", method_of(&call_index_tensor), METH_FASTCALL,
         "index_tensor(index: typing.Any, count: int) -> typing.Any\n\n"
         "Indices into `count` places as a Tensor, negative ones counted from the end; None if one "
         "is out of range or they are no contiguous int64 of NumPy's or of a Tensor."},
        {"pieces", method_of(&call_pieces), METH_FASTCALL,
         "pieces(narrow: typing.Any, x: typing.Any, axis: int, sizes: typing.Any) -> list\n\n"
         "narrow(x, axis, start, length) for pieces of one extent, of which the last may be "
         "shorter, or of a list of extents."}};
    for (PyMethodDef& method : methods)
        m.attr(method.ml_name) = owned(PyCFunction_New(&method, nullptr));
}

}  // namespace fastprop
