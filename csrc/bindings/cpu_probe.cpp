// fastprop._core._cpu: which compiled levels can this CPU run? Written on Python's C API and
// compiled for the baseline, so that asking needs no instruction that the CPU may lack, and takes
// no time.

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "core/cpu_levels.h"

namespace {

PyObject* supported_levels(PyObject*, PyObject*) {
    const std::vector<std::string> levels = fastprop::supported_levels();
    PyObject* result = PyTuple_New(static_cast<Py_ssize_t>(levels.size()));
    if (result == nullptr) return nullptr;
    for (std::size_t i = 0; i < levels.size(); ++i) {
        PyObject* name = PyUnicode_FromString(levels[i].c_str());
        if (name == nullptr) {
            Py_DECREF(result);
            return nullptr;
        }
        PyTuple_SET_ITEM(result, static_cast<Py_ssize_t>(i), name);
    }
    return result;
}

PyMethodDef methods[] = {
    {"supported_levels", supported_levels, METH_NOARGS,
     "supported_levels() -> tuple[str, ...]\n\nInstruction-set levels of this CPU, lowest first."},
    {nullptr, nullptr, 0, nullptr},
};

int fill_module(PyObject* module) {
    // A comma-separated list, lowest first.
    return PyModule_AddStringConstant(module, "BUILT_LEVELS", FASTPROP_BUILT_LEVELS);
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(fill_module)},
    {0, nullptr},
};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "_cpu",
    "Instruction-set levels of this CPU and of this build.",
    0,
    methods,
    slots,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

PyMODINIT_FUNC PyInit__cpu() { return PyModuleDef_Init(&definition); }
