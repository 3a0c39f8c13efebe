/// @file
/// @brief Derivatives through compiled functions: from those by the results of a call to the
/// Program that goes on from there.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/gradient_arrays.h"
#include "bindings/guarded.h"
#include "bindings/interned.h"
#include "bindings/new_tensor.h"
#include "bindings/object_of.h"
#include "bindings/traced_call.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// Derivatives by the results of a call, as far as they have arrived; the others are zero. They
/// take the place of the derivative by one Tensor in a backward pass, so they add up as that does.
class Cotangents {
public:
    using Terms = std::vector<std::pair<std::size_t, py::object>>;  ///< by the result's number

    explicit Cotangents(Terms terms) : terms_(std::move(terms)) {}

    Cotangents plus(const Cotangents& other) const {
        Terms total = terms_;
        for (const auto& [result, term] : other.terms_) {
            const auto before = [](const auto& t, std::size_t number) { return t.first < number; };
            const auto at = std::lower_bound(total.begin(), total.end(), result, before);
            if (at == total.end() || at->first != result) {
                total.emplace(at, result, term);
            } else {
                at->second = sum_of(at->second.ptr(), term.ptr());
            }
        }
        return Cotangents(std::move(total));
    }

    const Terms& terms() const { return terms_; }

private:
    Terms terms_;
};

/// Derivatives that have arrived at the node of a call: by its only result, or by some of several.
struct Given {
    std::vector<std::size_t> results;
    std::vector<PyObject*> tensors;

    explicit Given(PyObject* dy) {
        if (is_tensor(dy)) {
            results = {0};
            tensors = {dy};
        } else {
            for (const auto& [result, term] : object_of<Cotangents>(dy).terms()) {
                results.push_back(result);
                tensors.push_back(term.ptr());
            }
        }
    }

    bool are_arrays() const {
        return std::all_of(tensors.begin(), tensors.end(), [](PyObject* t) {
            return is_tensor(t) && slot(t, slot_data) != Py_None;
        });
    }
};

/// The rule of a call: one for all that its results came from.
class Pull {
public:
    explicit Pull(const py::object& by_python) : by_python_(kept(by_python)) {}

    /// Have derivatives by what is `wanted` be taken like that, where these results have one and
    /// nobody records them.
    void add(const std::vector<std::size_t>& results, const py::tuple& wanted,
             const py::object& derivative) {
        known_.push_back({results, kept(wanted), kept(derivative)});
    }

    void clear() {
        const py::object function = py::reinterpret_borrow<py::object>(by_python_);
        known_.clear();
        kept.clear();
        kept(function);
    }

    py::object call(PyObject* const* args) {
        PyObject *dy = args[0], *y = args[1], *wanted = args[3];
        const Given given(dy);
        const py::object derivative = find(given, wanted);
        if (derivative) {
            auto& found = object_of<TracedDerivative>(derivative);
            PyObject* attrs = slot(y, slot_attrs);
            const py::object call = part(attrs, names().call);
            const py::object saved = part(attrs, names().saved);
            // A call that was made before anybody had differentiated has saved nothing.
            if (call && saved && (!found.resumes() || PyTuple_GET_SIZE(saved.ptr()) > 0)) {
                const py::object none = py::tuple();
                return found.run(y, call.ptr(), (found.resumes() ? saved : none).ptr(),
                                 given.tensors);
            }
        }
        return owned(PyObject_Vectorcall(by_python_, args, 4, nullptr));
    }

    Kept kept;

private:
    struct Known {
        std::vector<std::size_t> results;
        PyObject* wanted;
        PyObject* derivative;
    };

    py::object find(const Given& given, PyObject* wanted) const {
        if (!given.are_arrays()) return {};
        if (value_of(modes.grad_enabled).ptr() == Py_True || !value_of(modes.trace).is_none())
            return {};
        for (const Known& known : known_) {
            if (known.results != given.results) continue;
            const int same = PyObject_RichCompareBool(known.wanted, wanted, Py_EQ);
            if (same < 0) throw py::error_already_set();
            if (same > 0) return py::reinterpret_borrow<py::object>(known.derivative);
        }
        return {};
    }

    static py::object part(PyObject* attrs, PyObject* name) {
        PyObject* found = PyDict_GetItemWithError(attrs, name);
        if (found == nullptr && PyErr_Occurred() != nullptr) throw py::error_already_set();
        if (found == nullptr || PyTuple_Check(found) == 0) return {};
        return py::reinterpret_borrow<py::object>(found);
    }

    PyObject* by_python_;
    std::vector<Known> known_;
};

PyObject* call_pull(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        if (count != 4 || !is_tensor(args[1]))
            throw TypeError("pull: expects dy, y, inputs, wanted");
        return object_of<Pull>(self).call(args);
    });
}

/// The rule of one of several results, a node of its own: what arrives there goes on to the node of
/// the call with the result's number.
PyObject* call_one_result(PyObject*, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        if (count < 2 || !is_tensor(args[1])) throw TypeError("one_result: expects dy, y, node");
        PyObject* index = PyDict_GetItemWithError(slot(args[1], slot_attrs), names().index);
        if (index == nullptr) throw TypeError("one_result: expects a result of a call");
        Cotangents::Terms terms;
        terms.emplace_back(PyLong_AsSize_t(index), py::reinterpret_borrow<py::object>(args[0]));
        if (PyErr_Occurred() != nullptr) throw py::error_already_set();
        return py::cast(Cotangents(std::move(terms)));
    });
}

}  // namespace

void bind_pull(py::module_& m) {
    py::class_<Cotangents> cotangents(m, "Cotangents",
                                      "Derivatives by some results of a call of a compiled "
                                      "function.");
    cotangents
        .def_property_readonly("terms", &Cotangents::terms,
                               "(number of the result, derivative), in the order of these numbers.")
        .def("__add__", &Cotangents::plus, py::arg("other"));
    cotangents.attr("_data") = py::none();  // nothing to look at, for detect_anomaly

    // CPython's table of methods holds functions of any signature under one type.
    static PyMethodDef pull_method = {
        "pull", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_pull)),
        METH_FASTCALL, nullptr};
    static PyMethodDef result_method = {
        "one_result", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_one_result)),
        METH_FASTCALL,
        "one_result(dy: typing.Any, y: typing.Any, node: typing.Any) -> Cotangents\n\n"
        "The rule of one of several results of a call."};
    m.attr("one_result") = owned(PyCFunction_New(&result_method, nullptr));
    py::class_<Pull>(m, "Pull", collected<Pull>(), "The rule of a call of a compiled function.")
        .def(py::init<const py::object&>(), py::arg("by_python"))
        .def("add", &Pull::add, py::arg("results"), py::arg("wanted"), py::arg("derivative"),
             "Take derivatives by what is wanted like that, from those by these results, where "
             "nobody records them.")
        .def("clear", &Pull::clear, "Forget all.")
        .def(
            "function",
            [](const py::object& self) { return owned(PyCFunction_New(&pull_method, self.ptr())); },
            "The rule: a function of dy, y, inputs and wanted.");
}

}  // namespace fastprop
