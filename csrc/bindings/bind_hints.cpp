/// @file
/// @brief Functions of Python whose errors about arguments say what these are called here.
///
/// A catch-all parameter (`**other`) costs every call a dict, a wrapper in Python twice that. This
/// one costs a call of C, and looks at nothing but errors.

#include <pybind11/pybind11.h>
#include <structmember.h>

#include <cstddef>

#include "bindings/bindings.h"
#include "bindings/guarded.h"
#include "bindings/new_tensor.h"

namespace py = pybind11;

namespace fastprop {
namespace {

struct Hinted {
    PyObject ob_base;
    vectorcallfunc call;
    PyObject* function;
    PyObject* explain;  ///< (function, names of arguments) -> message, or None
    PyObject* dict;     ///< what help and signatures read
};

Hinted* hinted_of(PyObject* self) { return reinterpret_cast<Hinted*>(self); }

/// The error of the call that has just failed, in other words where it is about names.
[[noreturn]] void raise_explained(const Hinted& self, PyObject* names) {
    py::error_already_set error;
    const py::object message =
        owned(PyObject_CallFunctionObjArgs(self.explain, self.function, names, nullptr));
    if (message.is_none()) throw std::move(error);
    PyErr_SetObject(PyExc_TypeError, message.ptr());
    throw py::error_already_set();
}

PyObject* call_hinted(PyObject* self, PyObject* const* args, std::size_t count, PyObject* names) {
    const Hinted& hinted = *hinted_of(self);
    PyObject* result = PyObject_Vectorcall(hinted.function, args, count, names);
    if (result != nullptr || names == nullptr || PyErr_ExceptionMatches(PyExc_TypeError) == 0)
        return result;
    return guarded([&]() -> py::object { raise_explained(hinted, names); });
}

/// A function in a class is a method of its instances.
PyObject* bind_to(PyObject* self, PyObject* instance, PyObject* /*owner*/) {
    if (instance != nullptr && instance != Py_None) return PyMethod_New(self, instance);
    Py_INCREF(self);
    return self;
}

PyObject* text_of(PyObject* self) { return PyObject_Repr(hinted_of(self)->function); }

/// Copies and pickles go by the name.
PyObject* reduce(PyObject* self, PyObject* /*none*/) {
    return PyObject_GetAttrString(self, "__qualname__");
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(hinted_of(self)->function);
    Py_VISIT(hinted_of(self)->explain);
    Py_VISIT(hinted_of(self)->dict);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(hinted_of(self)->function);
    Py_CLEAR(hinted_of(self)->explain);
    Py_CLEAR(hinted_of(self)->dict);
    return 0;
}

void dealloc(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

template <class Function>
void* slot_value(Function* function) {
    return reinterpret_cast<void*>(function);
}

PyTypeObject* make_type() {
    static PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET, offsetof(Hinted, call), READONLY, nullptr},
        {"__dictoffset__", T_PYSSIZET, offsetof(Hinted, dict), READONLY, nullptr},
        {nullptr, 0, 0, 0, nullptr}};
    static PyMethodDef methods[] = {{"__reduce__", &reduce, METH_NOARGS, nullptr},
                                    {nullptr, nullptr, 0, nullptr}};
    static PyType_Slot slots[] = {{Py_tp_members, members},
                                  {Py_tp_methods, methods},
                                  {Py_tp_call, slot_value(&PyVectorcall_Call)},
                                  {Py_tp_descr_get, slot_value(&bind_to)},
                                  {Py_tp_repr, slot_value(&text_of)},
                                  {Py_tp_traverse, slot_value(&traverse)},
                                  {Py_tp_clear, slot_value(&clear)},
                                  {Py_tp_dealloc, slot_value(&dealloc)},
                                  {0, nullptr}};
    static PyType_Spec spec = {"fastprop.function", sizeof(Hinted), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                                   Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
                               slots};
    return reinterpret_cast<PyTypeObject*>(owned(PyType_FromSpec(&spec)).release().ptr());
}

py::object hinted(const py::function& function, const py::function& explain) {
    static PyTypeObject* const type = make_type();
    py::object made = owned(type->tp_alloc(type, 0));
    Hinted* self = hinted_of(made.ptr());
    self->call = &call_hinted;
    self->function = py::object(function).release().ptr();
    self->explain = py::object(explain).release().ptr();
    self->dict = PyDict_New();
    if (self->dict == nullptr) throw py::error_already_set();
    return made;
}

}  // namespace

void bind_hints(py::module_& m) {
    m.def("hinted", &hinted, py::arg("function"), py::arg("explain"),
          "The function; where a call with names of arguments ends in a TypeError, "
          "explain(function, names) gives its message, or None.");
}

}  // namespace fastprop
