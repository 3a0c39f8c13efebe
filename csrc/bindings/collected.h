#pragma once
/// @file
/// @brief Objects of C++ that keep objects of Python, and are seen by Python's garbage collector.

#include <pybind11/pybind11.h>

#include <vector>

namespace fastprop {

/// What an object of C++ keeps. Cycles of references may go through it: they end at an object of
/// Python, which the collector clears.
class Kept {
public:
    /// The object, which stays as long as this does.
    PyObject* operator()(const pybind11::handle& object) {
        objects_.push_back(pybind11::reinterpret_borrow<pybind11::object>(object));
        return object.ptr();
    }

    void clear() { objects_.clear(); }

    int traverse(visitproc visit, void* arg) const {
        for (const pybind11::object& object : objects_) Py_VISIT(object.ptr());
        return 0;
    }

private:
    std::vector<pybind11::object> objects_;
};

/// For a class with a member `kept`, of class Kept.
template <class T>
pybind11::custom_type_setup collected() {
    return pybind11::custom_type_setup([](PyHeapTypeObject* heap) {
        PyTypeObject* type = &heap->ht_type;
        type->tp_flags |= Py_TPFLAGS_HAVE_GC;
        type->tp_traverse = [](PyObject* self, visitproc visit, void* arg) {
            Py_VISIT(Py_TYPE(self));
            if (!pybind11::detail::is_holder_constructed(self)) return 0;
            return pybind11::handle(self).cast<T&>().kept.traverse(visit, arg);
        };
    });
}

}  // namespace fastprop
