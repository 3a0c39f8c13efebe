#include "bindings/form.h"

#include <pybind11/stl.h>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace fastprop {

void bind_form(py::module_& m) {
    py::class_<Form>(m, "Form", "What arrays have to be to be used as they are.")
        .def(py::init<py::dtype, std::vector<Index>, Index>(), py::arg("dtype"),
             py::arg("row_shape"), py::arg("classes") = -1)
        .def(
            "fits", &Form::fits, py::arg("value"), py::arg("finite"),
            "True if `value` is a NumPy array (no subclass) of this dtype, contiguous and aligned, "
            "with one or more rows of this shape; if its labels lie in [0, classes); and, where "
            "asked for, if its numbers are finite.");
}

}  // namespace fastprop
