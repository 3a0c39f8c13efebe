// The one file of the bindings that is compiled once a level: Python looks in the file
// _core_<level> for a function of that name. The module is called what it is imported as, not what
// is said here.

#include <Python.h>

extern "C" PyObject* PyInit__core();

#define FASTPROP_CONCAT(a, b) a##b
#define FASTPROP_ENTRY(name) FASTPROP_CONCAT(PyInit_, name)

PyMODINIT_FUNC FASTPROP_ENTRY(FASTPROP_MODULE)() { return PyInit__core(); }
