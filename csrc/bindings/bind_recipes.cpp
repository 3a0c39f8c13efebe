/// @file
/// @brief Recipes to Python, where they are looked up, and functions of ops that are one node.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/guarded.h"
#include "bindings/new_tensor.h"
#include "bindings/object_of.h"
#include "bindings/plan_cache.h"
#include "bindings/recipe.h"
#include "bindings/tensor_slots.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// What Python hands over once.
struct RecipeBound {
    PyObject* make_derivation = nullptr;   ///< (node, dy, wanted) -> Derivation or None
    PyObject* derivations_name = nullptr;  ///< None in ops that have rules of their own each
} bound;

PlanCache derivation_cache;
PlanCache composition_cache;

PyObject* small_number(unsigned number) {
    static const auto numbers = [] {
        std::vector<PyObject*> made(1U << kMaxRecipeInputs);
        for (std::size_t i = 0; i < made.size(); ++i) made[i] = PyLong_FromSize_t(i);
        return made;
    }();
    return numbers.at(number);
}

/// A function of ops on operands of certain shapes as one node.
struct Composition {
    Recipe forward;
    py::object spec;
    py::object attrs;  ///< of the node; None: it has no history
};

/// (code or -1 for a part of memory, operands, attributes or where it begins, Spec, constant Tensor
/// or None, kept)
Recipe::Value value_of_tuple(const py::tuple& from) {
    require(from.size() == 6, "Recipe: a value has six parts, got ", from.size());
    Recipe::Value value;
    const auto code = from[0].cast<long long>();
    value.operands = from[1].cast<std::vector<int>>();
    value.attributes = from[2].cast<std::vector<double>>();
    value.spec = py::reinterpret_borrow<py::object>(shared_spec(py::object(from[3]).ptr()));
    if (!from[4].is_none()) value.constant = from[4];
    value.kept = from[5].cast<bool>();
    if (code >= 0 && from[4].is_none())
        value.entry = &op_table().at(static_cast<std::size_t>(code));
    return value;
}

Recipe make_recipe(const py::list& operands, const py::list& values,
                   const std::vector<int>& outputs) {
    std::vector<TensorView> forms;
    for (const py::handle spec : operands) forms.push_back(form_of(spec.ptr()));
    std::vector<Recipe::Value> own;
    for (const py::handle value : values)
        own.push_back(value_of_tuple(py::reinterpret_borrow<py::tuple>(value)));
    return Recipe(forms, std::move(own), outputs);
}

/// The function that Python calls: (function, op, make, plans) is its `self`.
struct Composed {
    explicit Composed(PyObject* self)
        : function(PyTuple_GET_ITEM(self, 0)),
          op(PyTuple_GET_ITEM(self, 1)),
          make(PyTuple_GET_ITEM(self, 2)),
          plans(PyTuple_GET_ITEM(self, 3)) {}
    PyObject* function;
    PyObject* op;
    PyObject* make;
    PyObject* plans;
};

/// Arguments of a call: Tensors that hold data, and whatever else says what is to be done.
class ComposedCall {
public:
    ComposedCall(PyObject* self, PyObject* const* args, Py_ssize_t count)
        : self_(self), args_(args), count_(count), composed_(self) {}

    py::object run() {
        if (!plain()) return by_python();
        const py::object plan = find();
        if (plan.is_none()) return by_python();
        return by_recipe(object_of<Composition>(plan));
    }

private:
    /// Whether all Tensors hold data, and nobody looks at what happens in between.
    bool plain() {
        if (modes.observer != nullptr || tensor_type == nullptr) return false;
        for (Py_ssize_t i = 0; i < count_; ++i) {
            if (!is_tensor(args_[i])) continue;
            if (tensors_ == kMaxRecipeInputs || slot(args_[i], slot_data) == nullptr ||
                slot(args_[i], slot_data) == Py_None)
                return false;
            if (requires_grad(args_[i])) wanted_ |= 1U << tensors_;
            own_[tensors_++] = args_[i];
        }
        if (value_of(modes.trace).ptr() != Py_None) return false;
        if (wanted_ != 0 && value_of(modes.grad_enabled).ptr() != Py_True) wanted_ = 0;
        return tensors_ > 0;
    }

    py::object by_python() const {
        return owned(PyObject_Vectorcall(composed_.function, args_,
                                         static_cast<std::size_t>(count_), nullptr));
    }

    PlanCache::Key identity() const {
        PlanCache::Key key;
        key.add(self_);
        key.add(small_number(wanted_));
        for (Py_ssize_t i = 0; i < count_; ++i) {
            if (is_tensor(args_[i])) {
                key.add(slot(args_[i], slot_spec));
            } else {
                key.add_value(args_[i]);
            }
        }
        return key;
    }

    py::object find() const {
        const PlanCache::Key key = identity();
        if (PyObject* known = composition_cache.find(key))
            return py::reinterpret_borrow<py::object>(known);
        py::object plan = look_up();
        if (!plan) return py::none();
        for (Py_ssize_t i = 0; i < tensors_; ++i) share_spec(own_[i]);
        composition_cache.put(identity(), plan.ptr());
        return plan;
    }

    /// What tells arguments that are equal apart: 1, 1.0 and True, 0.0 and -0.0.
    static PyObject* kind_of(PyObject* value) {
        if (is_negative_zero(value)) return Py_Ellipsis;
        return reinterpret_cast<PyObject*>(Py_TYPE(value));
    }

    /// By what is equal; null where an argument (a list, an array) has no hash: it may change.
    py::object look_up() const {
        py::object args = owned(PyTuple_New(count_));
        py::object key = owned(PyTuple_New(2 * count_ + 1));
        const auto put = [](const py::object& tuple, Py_ssize_t at, PyObject* item) {
            Py_INCREF(item);
            PyTuple_SET_ITEM(tuple.ptr(), at, item);
        };
        put(key, 2 * count_, small_number(wanted_));
        for (Py_ssize_t i = 0; i < count_; ++i) {
            const bool tensor = is_tensor(args_[i]);
            put(args, i, args_[i]);
            put(key, 2 * i, tensor ? slot(args_[i], slot_spec) : args_[i]);
            put(key, 2 * i + 1, tensor ? Py_None : kind_of(args_[i]));
        }
        if (PyObject* known = PyDict_GetItemWithError(composed_.plans, key.ptr()))
            return py::reinterpret_borrow<py::object>(known);
        if (PyErr_Occurred() != nullptr) {
            if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
            PyErr_Clear();
            return {};
        }
        py::object plan = owned(PyObject_CallFunctionObjArgs(
            composed_.make, composed_.op, args.ptr(), small_number(wanted_), nullptr));
        if (PyDict_Size(composed_.plans) >= kMaxPlans) PyDict_Clear(composed_.plans);
        if (PyDict_SetItem(composed_.plans, key.ptr(), plan.ptr()) < 0)
            throw py::error_already_set();
        return plan;
    }

    py::object by_recipe(Composition& plan) const {
        Recipe::Operand operands[kMaxRecipeInputs];
        for (Py_ssize_t i = 0; i < tensors_; ++i)
            operands[i] = {own_[i], py::detail::array_proxy(slot(own_[i], slot_data))->data};
        const auto kept = static_cast<Py_ssize_t>(plan.forward.kept_bytes());
        py::object saved;
        if (kept > 0) saved = owned(PyBytes_FromStringAndSize(nullptr, kept));
        py::object value;
        plan.forward.run(
            operands,
            saved ? reinterpret_cast<std::byte*>(PyBytes_AS_STRING(saved.ptr())) : nullptr, &value);
        if (plan.attrs.is_none()) return value;
        PyObject* y = value.ptr();
        replace(y, slot_op, composed_.op);
        py::object inputs = owned(PyTuple_New(tensors_));
        for (Py_ssize_t i = 0; i < tensors_; ++i) {
            Py_INCREF(own_[i]);
            PyTuple_SET_ITEM(inputs.ptr(), i, own_[i]);
        }
        replace(y, slot_inputs, inputs.ptr());
        replace(y, slot_attrs, plan.attrs.ptr());
        replace(y, slot_requires_grad, Py_True);
        if (saved) slot(y, slot_saved) = saved.release().ptr();
        return value;
    }

    PyObject* self_;
    PyObject* const* args_;
    Py_ssize_t count_;
    Composed composed_;
    PyObject* own_[kMaxRecipeInputs] = {};
    Py_ssize_t tensors_ = 0;
    unsigned wanted_ = 0;
};

PyObject* call_composed(PyObject* self, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] { return ComposedCall(self, args, count).run(); });
}

py::object composed(const py::function& function, const py::object& op, const py::function& make) {
    // CPython's table of methods holds functions of any signature under this one type.
    static PyMethodDef method = {
        "composed", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call_composed)),
        METH_FASTCALL, nullptr};
    const py::tuple self = py::make_tuple(function, op, make, py::dict());
    return owned(PyCFunction_New(&method, self.ptr()));
}

}  // namespace

py::object find_derivation(PyObject* node, PyObject* dy, unsigned wanted) {
    PyObject* op = slot(node, slot_op);
    PyObject* inputs = slot(node, slot_inputs);
    if (bound.make_derivation == nullptr || wanted >= 1U << kMaxRecipeInputs) return py::none();
    // What arrives at a call of a compiled function may be no Tensor.
    if (!is_tensor(dy) || slot(node, slot_data) == Py_None || slot(dy, slot_data) == Py_None)
        return py::none();
    const auto identity = [&] {
        PlanCache::Key key;
        key.add(op);
        key.add(slot(node, slot_attrs));
        key.add(small_number(wanted));
        key.add(slot(dy, slot_spec));
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i)
            key.add(slot(PyTuple_GET_ITEM(inputs, i), slot_spec));
        return key;
    };
    if (PyObject* found = derivation_cache.find(identity()))
        return py::reinterpret_borrow<py::object>(found);
    if (owned(PyObject_GetAttr(op, bound.derivations_name)).is_none()) return py::none();
    py::object made = owned(PyObject_CallFunctionObjArgs(bound.make_derivation, node, dy,
                                                         small_number(wanted), nullptr));
    share_spec(dy);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i)
        share_spec(PyTuple_GET_ITEM(inputs, i));
    derivation_cache.put(identity(), made.ptr());
    return made;
}

void bind_recipes(py::module_& m) {
    py::class_<Recipe>(m, "Recipe", "A list of kernels that runs without Python.")
        .def(py::init(&make_recipe), py::arg("operands"), py::arg("values"), py::arg("outputs"),
             "Specs of the operands, values as (code, operands, attributes, spec, constant, kept), "
             "and numbers of values.")
        .def("kept_offset", &Recipe::kept_offset, py::arg("value"),
             "Where a kept value lies, or -1: it is the first output.");
    py::class_<Derivation>(m, "Derivation", "Derivatives of a node as a recipe.")
        .def(py::init([](const Recipe& recipe, const std::vector<std::pair<Py_ssize_t, int>>& terms,
                         const std::vector<std::ptrdiff_t>& kept) {
                 std::vector<Derivation::Term> own;
                 for (const auto& [input, output] : terms) own.push_back({input, output});
                 return Derivation(recipe, std::move(own), kept);
             }),
             py::arg("recipe"), py::arg("terms"), py::arg("kept"),
             "Terms are (input, output of the recipe or -1 for zero); the recipe's operands are "
             "dy, y, the inputs and what lies at the offsets of `kept`.");
    py::class_<Composition>(m, "Composition", "A function of ops as one node.")
        .def(py::init([](const Recipe& forward, const py::object& spec, const py::object& attrs) {
                 return Composition{forward, spec, attrs};
             }),
             py::arg("forward"), py::arg("spec"), py::arg("attrs"));
    m.def("composed", &composed, py::arg("function"), py::arg("op"), py::arg("make"),
          "A function that runs function(*args) by make(op, args, wanted), a Composition or None, "
          "where its Tensors hold data.");
    m.def(
        "bind_recipes",
        [](const py::function& make_derivation) {
            bound.make_derivation = py::object(make_derivation).release().ptr();
            bound.derivations_name = py::str("derivations").release().ptr();
        },
        py::arg("make_derivation"),
        "Tell a backward pass what makes derivations: (node, dy, wanted) -> Derivation or None.");
}

}  // namespace fastprop
