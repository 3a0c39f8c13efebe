/// @file
/// @brief Functions of Python inside a Program: the ops host_call and host_update, with the GIL.

#include <pybind11/stl.h>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "program/host_call.h"

namespace py = pybind11;

namespace fastprop {
namespace {

PyObject* host =
    nullptr;  ///< (slot, inputs, outputs, numbers); never given back, as modules are not

/// An array over memory of the Program, which has to be gone when the call is over.
py::array array_over(const TensorView& view, bool writable) {
    const std::vector<Index> shape(view.shape, view.shape + view.rank);
    const py::capsule nobody(view.data, [](void*) {});  // so that NumPy does not copy
    py::array array(py::dtype(dtype_name(view.dtype)), shape, view.data, nobody);
    if (!writable) array.attr("flags").attr("writeable") = false;
    return array;
}

void call_python(const Call& call, const double* numbers, Index count) {
    const py::gil_scoped_acquire acquire;
    py::list inputs, outputs, values;
    for (int i = 0; i < call.num_in; ++i) inputs.append(array_over(call.in[i], false));
    for (int i = 0; i < call.num_out; ++i) outputs.append(array_over(call.out[i], true));
    for (Index i = 0; i < count; ++i) values.append(numbers[i]);
    py::reinterpret_borrow<py::function>(host)(call.index_attr(0), inputs, outputs, values);
}

}  // namespace

void bind_host(py::module_& m) {
    m.def(
        "set_host_function",
        [](const py::function& function) {
            host = py::reinterpret_borrow<py::object>(function).release().ptr();
            set_host_function(&call_python);
        },
        py::arg("function"),
        "What host_call and host_update call: function(slot, inputs, outputs, numbers), with "
        "arrays "
        "over memory that is valid during the call only.");
}

}  // namespace fastprop
