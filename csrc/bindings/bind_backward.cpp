/// @file
/// @brief The walk of a backward pass: which rules are called, in which order, and what is summed.
///
/// The rules are Python's. What is between them took as long as they did, so it is here.

#include <pybind11/pybind11.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/new_tensor.h"
#include "bindings/tensor_slots.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// What Python hands over once.
struct BackwardBound {
    PyObject* freed = nullptr;          ///< the op of a node whose history was given back
    PyObject* call_hooks = nullptr;     ///< (tensor, gradient) -> gradient
    PyObject* differentiate = nullptr;  ///< (scope): what is recorded from now on belongs to it
    PyObject* freed_error = nullptr;    ///< (name, node) -> exception
    PyObject* changed_error = nullptr;  ///< (name, leaf, node) -> exception
    PyObject* make_seed = nullptr;      ///< (name, output, gradient) -> seed, or the error
    PyObject* zeros_like = nullptr;     ///< (leaf) -> zeros
    PyObject* copy = nullptr;           ///< (gradient) -> a copy
    PyObject* no_inputs = nullptr;
    PyObject* no_attrs = nullptr;
    PyObject* vjps_name = nullptr;
    PyObject* name = nullptr;      ///< "backward"
    PyObject* observer = nullptr;  ///< (node, position, derivative) after every rule
} backward;

[[noreturn]] void raise(const py::object& error) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    throw py::error_already_set();
}

long long time_of(PyObject* tensor) { return PyLong_AsLongLong(slot(tensor, slot_time)); }

/// Calls f(input) for every input.
template <class F>
void for_inputs(PyObject* node, const F& f) {
    PyObject* inputs = slot(node, slot_inputs);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i) f(PyTuple_GET_ITEM(inputs, i));
}

/// One pass back from outputs with their seeds.
class Walk {
public:
    Walk(py::handle name, py::handle targets, bool free, bool within)
        : name_(name), all_(targets.is_none()), free_(free), within_(within) {
        if (all_) return;
        for (const py::handle t : targets) targets_.push_back(t.ptr());
        kept_.insert(targets_.begin(), targets_.end());
    }

    void start(PyObject* output, PyObject* seed) {
        if (is_result(output) && requires_grad(output)) visit(output);
        seeds_.emplace_back(output, py::reinterpret_borrow<py::object>(seed));
    }

    void run() {
        collect();
        if (!all_) find_path();
        for (auto& [output, seed] : seeds_) add(output, std::move(seed));
        for (const py::object& node : nodes_) {
            const auto found = values_.find(node.ptr());
            if (found != values_.end() && wanted(node.ptr())) differentiate(node.ptr(), found);
        }
        // Within a larger pass a target's derivative is not complete yet: hooks are called there.
        for (const py::object& leaf : leaves_) {
            if (!within_ && has_hooks(leaf.ptr())) hook(leaf.ptr(), values_.at(leaf.ptr()));
        }
        check_targets();
    }

    /// Calls f(leaf, derivative) for the leaves that were reached, in order; None is zero.
    template <class F>
    void for_leaves(const F& f) const {
        for (const py::object& leaf : leaves_) f(leaf.ptr(), values_.at(leaf.ptr()));
    }

    /// The derivatives that were asked for or belong to leaves, by id, and the leaves in order.
    py::tuple result() {
        py::dict values;
        const auto put = [&](PyObject* tensor) {
            const auto found = values_.find(tensor);
            if (found != values_.end()) values[owned(PyLong_FromVoidPtr(tensor))] = found->second;
        };
        py::list leaves;
        for (const py::object& leaf : leaves_) {
            put(leaf.ptr());
            leaves.append(leaf);
        }
        for (PyObject* target : targets_) put(target);
        return py::make_tuple(values, leaves);
    }

private:
    using Values = std::unordered_map<PyObject*, py::object>;

    void visit(PyObject* node) {
        if (within_ && kept_.count(node) != 0) return;
        if (seen_.insert(node).second) nodes_.push_back(py::reinterpret_borrow<py::object>(node));
    }

    /// Results of ops that derivatives go through, the latest first: users before what they use.
    void collect() {
        for (std::size_t next = 0; next < nodes_.size(); ++next) {
            PyObject* node = nodes_[next].ptr();
            if (slot(node, slot_op) == backward.freed) freed_before_ = node;
            for_inputs(node, [&](PyObject* x) {
                if (is_result(x) && requires_grad(x)) visit(x);
            });
        }
        std::sort(nodes_.begin(), nodes_.end(), [](const py::object& a, const py::object& b) {
            return time_of(a.ptr()) > time_of(b.ptr());
        });
    }

    /// The targets, and every node that was computed from one.
    void find_path() {
        path_ = kept_;
        for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
            for_inputs(node->ptr(), [&](PyObject* x) {
                if (requires_grad(x) && path_.count(x) != 0) path_.insert(node->ptr());
            });
        }
    }

    bool wanted(PyObject* tensor) const { return all_ || path_.count(tensor) != 0; }

    void add(PyObject* tensor, py::object value) {
        const auto [at, first] = values_.emplace(tensor, value);
        if (first) {
            if (!is_result(tensor)) leaves_.push_back(py::reinterpret_borrow<py::object>(tensor));
        } else if (!value.is_none()) {
            if (!at->second.is_none()) value = owned(PyNumber_Add(at->second.ptr(), value.ptr()));
            at->second = std::move(value);
        }
    }

    static bool has_hooks(PyObject* tensor) {
        PyObject* hooks = slot(tensor, slot_hooks);
        return hooks != Py_None && PyDict_GET_SIZE(hooks) > 0;
    }

    /// The derivative, now that it is complete, as the hooks leave it.
    static void hook(PyObject* tensor, py::object& value) {
        if (value.is_none()) return;
        value =
            owned(PyObject_CallFunctionObjArgs(backward.call_hooks, tensor, value.ptr(), nullptr));
    }

    void differentiate(PyObject* node, Values::iterator found) {
        const py::object op = py::reinterpret_borrow<py::object>(slot(node, slot_op));
        if (op.ptr() == backward.freed) raise_freed(node);
        if (has_hooks(node)) hook(node, found->second);
        const py::object dy = found->second;
        if (kept_.count(node) == 0) values_.erase(found);
        if (slot(node, slot_scope) != Py_None)
            owned(PyObject_CallFunctionObjArgs(backward.differentiate, slot(node, slot_scope),
                                               nullptr));
        const py::object rules = owned(PyObject_GetAttr(op.ptr(), backward.vjps_name));
        const py::object inputs = py::reinterpret_borrow<py::object>(slot(node, slot_inputs));
        if (!within_) check_unchanged(node);
        const bool together = PyTuple_Check(rules.ptr()) == 0;
        const py::object all = together && !dy.is_none()
                                   ? call_together(rules.ptr(), dy.ptr(), node, inputs.ptr())
                                   : py::object(py::none());
        // An op may have more rules than inputs, if some of these may be left out.
        const Py_ssize_t count =
            together ? PyTuple_GET_SIZE(inputs.ptr())
                     : std::min(PyTuple_GET_SIZE(inputs.ptr()), PyTuple_GET_SIZE(rules.ptr()));
        for (Py_ssize_t i = 0; i < count; ++i) {
            PyObject* x = PyTuple_GET_ITEM(inputs.ptr(), i);
            if (!requires_grad(x) || !wanted(x)) continue;
            py::object dx = py::none();
            if (!dy.is_none() && together) {
                dx = owned(PySequence_GetItem(all.ptr(), i));
                if (dx.ptr() == Py_NotImplemented) continue;  // no path leads there
            } else if (!dy.is_none()) {
                PyObject* rule = PyTuple_GET_ITEM(rules.ptr(), i);
                if (rule != Py_None) dx = call(rule, dy.ptr(), node, inputs.ptr());
            }
            if (backward.observer != nullptr && !dx.is_none()) observe(node, i, dy, dx);
            add(x, std::move(dx));
        }
        if (free_ && slot(node, slot_data) != Py_None) {
            replace(node, slot_op, backward.freed);
            replace(node, slot_inputs, backward.no_inputs);
            replace(node, slot_attrs, backward.no_attrs);
        }
    }

    /// rule(dy, node, *inputs)
    py::object call(PyObject* rule, PyObject* dy, PyObject* node, PyObject* inputs) {
        arguments_.assign({dy, node});
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(inputs); ++k)
            arguments_.push_back(PyTuple_GET_ITEM(inputs, k));
        const Unobserved quiet;
        return owned(PyObject_Vectorcall(rule, arguments_.data(), arguments_.size(), nullptr));
    }

    /// rule(dy, node, inputs, wanted): one rule for all inputs, which need one pass together.
    py::object call_together(PyObject* rule, PyObject* dy, PyObject* node, PyObject* inputs) const {
        const Py_ssize_t count = PyTuple_GET_SIZE(inputs);
        const py::object flags = owned(PyTuple_New(count));
        for (Py_ssize_t i = 0; i < count; ++i) {
            PyObject* x = PyTuple_GET_ITEM(inputs, i);
            PyTuple_SET_ITEM(flags.ptr(), i, PyBool_FromLong(requires_grad(x) && wanted(x)));
        }
        const Unobserved quiet;
        return owned(PyObject_CallFunctionObjArgs(rule, dy, node, inputs, flags.ptr(), nullptr));
    }

    /// Leaves that the op had read are as they were, those included that nobody differentiates by:
    /// the rules for others may read them.
    void check_unchanged(PyObject* node) const {
        for_inputs(node, [&](PyObject* x) {
            if (requires_grad(x) && !is_result(x) && time_of(x) > time_of(node))
                raise(owned(PyObject_CallFunctionObjArgs(backward.changed_error, name_.ptr(), x,
                                                         node, nullptr)));
        });
    }

    static void observe(PyObject* node, Py_ssize_t position, const py::object& dy,
                        const py::object& dx) {
        const py::object observer = py::reinterpret_borrow<py::object>(backward.observer);
        observer(py::handle(node), position, dy, dx);
    }

    /// A target that was not reached may lie behind what an earlier pass has freed: who can tell?
    void check_targets() {
        const auto missing = [&](PyObject* t) { return values_.count(t) == 0; };
        if (std::none_of(targets_.begin(), targets_.end(), missing)) return;
        if (freed_before_ != nullptr && !within_) raise_freed(freed_before_);
    }

    [[noreturn]] void raise_freed(PyObject* node) {
        raise(
            owned(PyObject_CallFunctionObjArgs(backward.freed_error, name_.ptr(), node, nullptr)));
    }

    py::handle name_;
    bool all_;
    bool free_;
    bool within_;  ///< the pass ends at the targets, of which none lies behind another
    PyObject* freed_before_ = nullptr;  ///< a node whose history an earlier pass gave back
    std::vector<PyObject*> targets_;
    std::unordered_set<PyObject*> kept_;  ///< targets, whose derivatives are results
    std::unordered_set<PyObject*> path_;
    std::unordered_set<PyObject*> seen_;
    std::vector<py::object> nodes_;
    std::vector<std::pair<PyObject*, py::object>> seeds_;
    std::vector<py::object> leaves_;
    std::vector<PyObject*> arguments_;
    Values values_;
};

py::tuple accumulate(const py::str& name, const py::list& outputs, const py::list& seeds,
                     const py::object& targets, bool free, bool within) {
    Walk walk(name, targets, free, within);
    for (std::size_t i = 0; i < outputs.size(); ++i) walk.start(outputs[i].ptr(), seeds[i].ptr());
    walk.run();
    return walk.result();
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
            derivative = owned(PyNumber_Add(before.ptr(), derivative.ptr()));
        } else {
            // Two leaves may get one array (both terms of a sum do), which one of them may change.
            PyObject* memory = memory_of(derivative.ptr());
            if (!taken_.insert(memory).second) derivative = call(backward.copy, derivative.ptr());
        }
        replace(leaf, slot_grad, derivative.ptr());
    }

private:
    std::unordered_set<PyObject*> taken_;
};

void accumulate_gradients(const py::object& output, const py::object& gradient, bool free,
                          bool create_graph) {
    if (!is_tensor(output.ptr()) || slot(output.ptr(), slot_spec) == nullptr)
        throw TypeError("backward: expects a Tensor");
    if (backward.name == nullptr) py::module_::import("fastprop.graph.autodiff");  // it binds
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
