/// @file
/// @brief Backward passes for Python: where a walk starts, and what becomes of its results.

#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "bindings/few.h"
#include "bindings/gradient_arrays.h"
#include "bindings/new_tensor.h"
#include "bindings/tensor_slots.h"
#include "bindings/walk.h"

namespace py = pybind11;

namespace fastprop {
namespace {

py::tuple accumulate(const py::str& name, const py::list& outputs, const py::list& seeds,
                     const py::object& targets, bool free, bool within) {
    Walk walk(name, targets, free, within);
    for (std::size_t i = 0; i < outputs.size(); ++i) walk.start(outputs[i].ptr(), seeds[i].ptr());
    walk.run();
    return walk.result();
}

/// What a pass within a larger one would add to the targets, term by term.
py::list collect_terms(const py::str& name, const py::object& output, const py::object& seed,
                       const py::object& targets) {
    py::list terms;
    Walk walk(name, targets, false, true, &terms);
    walk.start(output.ptr(), seed.ptr());
    walk.run();
    return terms;
}

py::object call(PyObject* function, PyObject* argument) {
    return owned(PyObject_CallFunctionObjArgs(function, argument, nullptr));
}

/// One, for a scalar that may be differentiated; everything else is for Python to look at.
py::object seed_of(PyObject* output, PyObject* gradient) {
    PyObject* spec = slot(output, slot_spec);
    PyObject* extents = PyTuple_GET_ITEM(spec, spec_shape);
    PyObject* type = PyTuple_GET_ITEM(spec, spec_dtype);
    const bool known = slot(output, slot_data) != Py_None;  // else it may have leaked from a trace
    const bool scalar =
        gradient == Py_None && known && requires_grad(output) && PyTuple_GET_SIZE(extents) == 0;
    if (!scalar)
        return owned(PyObject_CallFunctionObjArgs(backward.make_seed, backward.name, output,
                                                  gradient, nullptr));
    const py::array one = new_array(extents, type);
    void* data = py::array(one).mutable_data();
    if (one.itemsize() == sizeof(float)) {
        *static_cast<float*>(data) = 1.0F;
    } else {
        *static_cast<double*>(data) = 1.0;
    }
    return new_leaf(one, spec);
}

/// What owns the data; a symbolic Tensor has memory of its own.
PyObject* memory_of(PyObject* tensor) {
    PyObject* array = slot(tensor, slot_data);
    if (array == Py_None) return tensor;
    PyObject* base = py::detail::array_proxy(array)->base;
    return base == nullptr ? array : base;
}

/// Adds derivatives to the `grad` of leaves.
class Gradients {
public:
    /// Memory that belongs to somebody else.
    void keep_off(PyObject* tensor) { taken_.insert(memory_of(tensor)); }

    void add(PyObject* leaf, py::object derivative) {
        if (derivative.is_none()) derivative = call(backward.zeros_like, leaf);
        const py::object before = py::reinterpret_borrow<py::object>(slot(leaf, slot_grad));
        if (!before.is_none()) {
            derivative = sum_of(before.ptr(), derivative.ptr());
        } else {
            // Two leaves may get one array (both terms of a sum do), which one of them may change.
            PyObject* memory = memory_of(derivative.ptr());
            if (!taken_.insert(memory)) derivative = copy_of(derivative.ptr(), backward.copy);
        }
        replace(leaf, slot_grad, derivative.ptr());
    }

private:
    FewAddresses taken_;
};

void accumulate_gradients(const py::object& output, const py::object& gradient, bool free,
                          bool create_graph) {
    if (!is_tensor(output.ptr()) || slot(output.ptr(), slot_spec) == nullptr)
        throw TypeError("backward: expects a Tensor");
    load_rules();
    const ContextValue mode(modes.grad_enabled, create_graph ? Py_True : Py_False);
    const ContextValue scope(modes.scope, value_of(modes.scope).ptr());
    const py::object seed = seed_of(output.ptr(), gradient.ptr());
    Walk walk(backward.name, py::none(), free, false);
    walk.start(output.ptr(), seed.ptr());
    walk.run();
    Gradients gradients;
    if (!gradient.is_none()) gradients.keep_off(seed.ptr());
    const py::object trace = value_of(modes.trace);
    if (free && !trace.is_none()) trace.attr("freed").attr("append")(output);
    walk.for_leaves([&](PyObject* leaf, const py::object& derivative) {
        const bool watched = !trace.is_none() && slot(leaf, slot_data) != Py_None;
        if (watched) trace.attr("watch_gradient")(py::handle(leaf));
        gradients.add(leaf, derivative);
    });
}

}  // namespace

void bind_backward(py::module_& m) {
    m.def(
        "bind_backward",
        [](const py::object& freed, const py::object& call_hooks, const py::object& differentiate,
           const py::object& freed_error, const py::object& changed_error,
           const py::object& make_seed, const py::object& zeros_like, const py::object& copy) {
            const auto keep = [](const py::object& object) {
                return py::object(object).release().ptr();
            };
            backward.freed = keep(freed);
            backward.call_hooks = keep(call_hooks);
            backward.differentiate = keep(differentiate);
            backward.freed_error = keep(freed_error);
            backward.changed_error = keep(changed_error);
            backward.make_seed = keep(make_seed);
            backward.zeros_like = keep(zeros_like);
            backward.copy = keep(copy);
            backward.name = keep(py::str("backward"));
            backward.no_inputs = keep(py::tuple());
            backward.no_attrs = keep(py::dict());
            backward.vjps_name = keep(py::str("vjps"));
        },
        py::arg("freed"), py::arg("call_hooks"), py::arg("differentiate"), py::arg("freed_error"),
        py::arg("changed_error"), py::arg("make_seed"), py::arg("zeros_like"), py::arg("copy"),
        "Tell `accumulate` the op of a freed node, and the functions of Python that it calls.");
    m.def("accumulate_gradients", &accumulate_gradients, py::arg("output"), py::arg("gradient"),
          py::arg("free"), py::arg("create_graph"),
          "One pass back from an output, whose derivatives are added to the `grad` of leaves.");
    m.def("accumulate", &accumulate, py::arg("name"), py::arg("outputs"), py::arg("seeds"),
          py::arg("targets"), py::arg("free"), py::arg("within"),
          "One pass back: derivatives by the targets (None: by all leaves) as a dict by id, where "
          "None is zero, and the leaves that were reached, in order.");
    m.def("collect_terms", &collect_terms, py::arg("name"), py::arg("output"), py::arg("seed"),
          py::arg("targets"),
          "One pass back that ends at the targets: (target, term of its derivative) in the order "
          "in which a larger pass adds them up.");
    m.def(
        "set_backward_observer",
        [](const py::object& observer) {
            PyObject* before = backward.observer;
            backward.observer = observer.is_none() ? nullptr : py::object(observer).release().ptr();
            return before == nullptr ? py::object(py::none())
                                     : py::reinterpret_steal<py::object>(before);
        },
        py::arg("observer"),
        "Call observer(node, position, dy, dx) after every derivative rule of a pass, None for "
        "nothing; gives the one before.");
}

}  // namespace fastprop
