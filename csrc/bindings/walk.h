#pragma once
/// @file
/// @brief The walk of a backward pass: which rules are called, in which order, and what is summed.
///
/// The rules are Python's, or recipes made of them. What is between them took as long as they did,
/// so it is here.

#include <pybind11/pybind11.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/few.h"
#include "bindings/gradient_arrays.h"
#include "bindings/new_tensor.h"
#include "bindings/object_of.h"
#include "bindings/recipe.h"
#include "bindings/tensor_slots.h"

namespace fastprop {

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
};
inline BackwardBound backward;

/// A pass back may be the first that a program does: then the module that binds it is not loaded.
inline void load_rules() {
    if (backward.name == nullptr) pybind11::module_::import("fastprop.graph.autodiff");
}

[[noreturn]] inline void raise(const pybind11::object& error) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    throw pybind11::error_already_set();
}

/// Calls f(input) for every input.
template <class F>
void for_inputs(PyObject* node, const F& f) {
    PyObject* inputs = slot(node, slot_inputs);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i) f(PyTuple_GET_ITEM(inputs, i));
}

/// One pass back from outputs with their seeds.
class Walk {
public:
    Walk(pybind11::handle name, pybind11::handle targets, bool free, bool within,
         pybind11::list* terms = nullptr)
        : name_(name), all_(targets.is_none()), free_(free), within_(within), terms_(terms) {
        load_rules();
        // Derivatives that are recorded, or that somebody looks at, are the rules' own ops.
        by_recipe_ = value_of(modes.grad_enabled).ptr() == Py_False &&
                     value_of(modes.trace).is_none() && backward.observer == nullptr;
        if (all_) return;
        for (const pybind11::handle t : targets) targets_.push_back(t.ptr());
        for (PyObject* target : targets_) kept_.insert(target);
    }

    void start(PyObject* output, PyObject* seed) {
        if (is_result(output) && requires_grad(output)) visit(output);
        seeds_.emplace_back(output, pybind11::reinterpret_borrow<pybind11::object>(seed));
    }

    void run() {
        collect();
        if (!all_) find_path();
        for (auto& [output, seed] : seeds_) add(output, std::move(seed));
        for (const pybind11::object& node : nodes_) {
            const pybind11::object* found = values_.find(node.ptr());
            if (found != nullptr && wanted(node.ptr())) differentiate(node.ptr(), *found);
        }
        // Within a larger pass a target's derivative is not complete yet: hooks are called there.
        for (const pybind11::object& leaf : leaves_) {
            if (!within_ && has_hooks(leaf.ptr())) hook(leaf.ptr(), *values_.find(leaf.ptr()));
        }
        check_targets();
    }

    /// Calls f(leaf, derivative) for the leaves that were reached, in order; None is zero.
    template <class F>
    void for_leaves(const F& f) const {
        for (const pybind11::object& leaf : leaves_) f(leaf.ptr(), *values_.find(leaf.ptr()));
    }

    /// The derivatives that were asked for or belong to leaves, by id, and the leaves in order.
    pybind11::tuple result() {
        pybind11::dict values;
        const auto put = [&](PyObject* tensor) {
            const pybind11::object* found = values_.find(tensor);
            if (found != nullptr) values[owned(PyLong_FromVoidPtr(tensor))] = *found;
        };
        pybind11::list leaves;
        for (const pybind11::object& leaf : leaves_) {
            put(leaf.ptr());
            leaves.append(leaf);
        }
        for (PyObject* target : targets_) put(target);
        return pybind11::make_tuple(values, leaves);
    }

private:
    void visit(PyObject* node) {
        if (within_ && kept_.contains(node)) return;
        if (seen_.insert(node))
            nodes_.push_back(pybind11::reinterpret_borrow<pybind11::object>(node));
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
        std::sort(nodes_.begin(), nodes_.end(),
                  [](const pybind11::object& a, const pybind11::object& b) {
                      return time_of(a.ptr()) > time_of(b.ptr());
                  });
    }

    /// The targets, and every node that was computed from one.
    void find_path() {
        path_ = kept_;
        for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
            for_inputs(node->ptr(), [&](PyObject* x) {
                if (requires_grad(x) && path_.contains(x)) path_.insert(node->ptr());
            });
        }
    }

    bool wanted(PyObject* tensor) const { return all_ || path_.contains(tensor); }

    void add(PyObject* tensor, pybind11::object value) {
        if (terms_ != nullptr && kept_.contains(tensor)) {
            terms_->append(pybind11::make_tuple(pybind11::handle(tensor), value));
            return;
        }
        const auto [at, first] = values_.emplace(tensor, value);
        if (first) {
            if (!is_result(tensor))
                leaves_.push_back(pybind11::reinterpret_borrow<pybind11::object>(tensor));
        } else if (!*at) {
            *at = std::move(value);
        } else if (!value.is_none()) {
            if (!at->is_none()) value = sum_of(at->ptr(), value.ptr());
            *at = std::move(value);
        }
    }

    static bool has_hooks(PyObject* tensor) {
        PyObject* hooks = slot(tensor, slot_hooks);
        return hooks != Py_None && PyDict_GET_SIZE(hooks) > 0;
    }

    /// The derivative, now that it is complete, as the hooks leave it.
    static void hook(PyObject* tensor, pybind11::object& value) {
        if (value.is_none()) return;
        value =
            owned(PyObject_CallFunctionObjArgs(backward.call_hooks, tensor, value.ptr(), nullptr));
    }

    void differentiate(PyObject* node, pybind11::object dy) {
        const pybind11::object op =
            pybind11::reinterpret_borrow<pybind11::object>(slot(node, slot_op));
        if (op.ptr() == backward.freed) raise_freed(node);
        if (has_hooks(node)) hook(node, dy);
        // What nobody asks for is given back when the node has used it.
        *values_.find(node) = kept_.contains(node) ? dy : pybind11::object();
        if (slot(node, slot_scope) != Py_None)
            owned(PyObject_CallFunctionObjArgs(backward.differentiate, slot(node, slot_scope),
                                               nullptr));
        const pybind11::object inputs =
            pybind11::reinterpret_borrow<pybind11::object>(slot(node, slot_inputs));
        if (!within_) check_unchanged(node);
        const bool done = by_recipe_ && !dy.is_none() && apply_recipe(node, dy, inputs);
        if (!done)
            apply_rules(node, owned(PyObject_GetAttr(op.ptr(), backward.vjps_name)), dy, inputs);
        if (free_ && slot(node, slot_data) != Py_None) {
            replace(node, slot_op, backward.freed);
            replace(node, slot_inputs, backward.no_inputs);
            replace(node, slot_attrs, backward.no_attrs);
            PyObject* saved = std::exchange(slot(node, slot_saved), nullptr);
            Py_XDECREF(saved);
        }
    }

    /// Kernels alone do what the rules would do; false where there is no recipe for that.
    bool apply_recipe(PyObject* node, const pybind11::object& dy, const pybind11::object& inputs) {
        unsigned wanted_inputs = 0;
        if (PyTuple_GET_SIZE(inputs.ptr()) > kMaxRecipeInputs) return false;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs.ptr()); ++i) {
            PyObject* x = PyTuple_GET_ITEM(inputs.ptr(), i);
            if (requires_grad(x) && wanted(x)) wanted_inputs |= 1U << i;
            if (slot(x, slot_data) == Py_None) return false;
        }
        const pybind11::object known = find_derivation(node, dy.ptr(), wanted_inputs);
        if (known.is_none()) return false;
        object_of<Derivation>(known).run(node, dy.ptr(), [&](Py_ssize_t i, pybind11::object dx) {
            add(PyTuple_GET_ITEM(inputs.ptr(), i), std::move(dx));
        });
        return true;
    }

    void apply_rules(PyObject* node, const pybind11::object& rules, const pybind11::object& dy,
                     const pybind11::object& inputs) {
        const bool together = PyTuple_Check(rules.ptr()) == 0;
        const pybind11::object all = together && !dy.is_none()
                                         ? call_together(rules.ptr(), dy.ptr(), node, inputs.ptr())
                                         : pybind11::object(pybind11::none());
        // An op may have more rules than inputs, if some of these may be left out.
        const Py_ssize_t count =
            together ? PyTuple_GET_SIZE(inputs.ptr())
                     : std::min(PyTuple_GET_SIZE(inputs.ptr()), PyTuple_GET_SIZE(rules.ptr()));
        for (Py_ssize_t i = 0; i < count; ++i) {
            PyObject* x = PyTuple_GET_ITEM(inputs.ptr(), i);
            if (!requires_grad(x) || !wanted(x)) continue;
            pybind11::object dx = pybind11::none();
            if (!dy.is_none() && together) {
                dx = owned(PySequence_GetItem(all.ptr(), i));
                if (dx.ptr() == Py_NotImplemented) continue;  // no path leads there
            } else if (!dy.is_none()) {
                PyObject* rule = PyTuple_GET_ITEM(rules.ptr(), i);
                if (rule != Py_None) dx = call(rule, dy.ptr(), node, inputs.ptr());
            }
            const bool several = PyTuple_Check(dx.ptr()) != 0;
            const pybind11::tuple terms = several
                                              ? pybind11::reinterpret_borrow<pybind11::tuple>(dx)
                                              : pybind11::make_tuple(std::move(dx));
            for (const pybind11::handle term : terms) {
                if (backward.observer != nullptr && !term.is_none())
                    observe(node, i, dy, pybind11::reinterpret_borrow<pybind11::object>(term));
                add(x, pybind11::reinterpret_borrow<pybind11::object>(term));
            }
        }
    }

    /// rule(dy, node, *inputs)
    pybind11::object call(PyObject* rule, PyObject* dy, PyObject* node, PyObject* inputs) {
        arguments_.assign({dy, node});
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(inputs); ++k)
            arguments_.push_back(PyTuple_GET_ITEM(inputs, k));
        const Unobserved quiet;
        return owned(PyObject_Vectorcall(rule, arguments_.data(), arguments_.size(), nullptr));
    }

    /// rule(dy, node, inputs, wanted): one rule for all inputs, which need one pass together.
    pybind11::object call_together(PyObject* rule, PyObject* dy, PyObject* node,
                                   PyObject* inputs) const {
        const Py_ssize_t count = PyTuple_GET_SIZE(inputs);
        const pybind11::object flags = owned(PyTuple_New(count));
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

    static void observe(PyObject* node, Py_ssize_t position, const pybind11::object& dy,
                        const pybind11::object& dx) {
        const pybind11::object observer =
            pybind11::reinterpret_borrow<pybind11::object>(backward.observer);
        observer(pybind11::handle(node), position, dy, dx);
    }

    /// A target that was not reached may lie behind what an earlier pass has freed: who can tell?
    void check_targets() {
        const auto missing = [&](PyObject* t) { return !values_.contains(t); };
        if (std::none_of(targets_.begin(), targets_.end(), missing)) return;
        if (freed_before_ != nullptr && !within_) raise_freed(freed_before_);
    }

    [[noreturn]] void raise_freed(PyObject* node) {
        raise(
            owned(PyObject_CallFunctionObjArgs(backward.freed_error, name_.ptr(), node, nullptr)));
    }

    pybind11::handle name_;
    bool all_;
    bool free_;
    bool within_;  ///< the pass ends at the targets, of which none lies behind another
    bool by_recipe_ = false;
    pybind11::list* terms_;  ///< what arrives at targets goes here instead of being summed
    PyObject* freed_before_ = nullptr;  ///< a node whose history an earlier pass gave back
    std::vector<PyObject*> targets_;
    FewAddresses kept_;  ///< targets, whose derivatives are results
    FewAddresses path_;
    FewAddresses seen_;
    std::vector<pybind11::object> nodes_;
    std::vector<std::pair<PyObject*, pybind11::object>> seeds_;
    std::vector<pybind11::object> leaves_;
    std::vector<PyObject*> arguments_;
    FewByAddress<pybind11::object> values_;
};

}  // namespace fastprop
