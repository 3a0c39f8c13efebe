/// @file
/// @brief `apply`: runs an op on Tensors at once, or records it. The hot path of eager execution.
///
/// Written against CPython's and NumPy's C interface, since the work itself takes less time than
/// calls through pybind11 or a few lines of Python do. Tensors stay a class of Python: their slots
/// are read and written where its member descriptors say. What an op does with operands of certain
/// shapes and dtypes is worked out in Python once, and looked up here afterwards.

#include <pybind11/pybind11.h>
// After Python.h.
#include <structmember.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/guarded.h"
#include "bindings/leaf.h"
#include "bindings/new_tensor.h"
#include "bindings/plan_cache.h"
#include "bindings/tensor_slots.h"
#include "core/denormals.h"
#include "program/op.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// Operands that are held without an allocation.
constexpr Py_ssize_t kFew = 4;
/// Elements from which on other Python threads may run meanwhile; below it handing over the lock
/// would take longer than the work.
constexpr Index kLongWork = 1 << 14;

constexpr std::array<const char*, kSlots> kSlotNames = {
    "_data",          "spec",  "shape", "dtype", "op",    "inputs", "attrs",
    "_requires_grad", "_grad", "hooks", "time",  "scope", "saved"};

/// What Python hands over once: its class, its functions, its state. Never given back, as modules
/// are not.
struct Bound {
    PyObject* plans = nullptr;          ///< dict: (op, specs, attributes) -> plan
    PyObject* make_plan = nullptr;      ///< (op, specs, attrs) -> plan, or the error users see
    PyObject* negative_zero = nullptr;  ///< stands for it in keys of plans
} bound;

PlanCache plan_cache;

/// Fields of a plan, a tuple; see Plan in graph/plan.py.
enum PlanField {
    plan_out,
    plan_differentiable,
    plan_attributes,
    plan_code,
    plan_view,
    plan_threads,
    plan_attrs
};

/// Parameters and Buffers, subclasses of Tensor, have other values when a Program runs.
bool is_state(PyObject* tensor) { return Py_TYPE(tensor) != tensor_type; }

/// The arguments of a call: an op, Tensors, and attributes by name.
struct Arguments {
    PyObject* op;
    PyObject* const* tensors;
    Py_ssize_t count;
    PyObject* names;  ///< tuple, or null
    PyObject* const* values;

    Py_ssize_t attributes() const { return names == nullptr ? 0 : PyTuple_GET_SIZE(names); }

    py::object tuple() const {
        py::object result = owned(PyTuple_New(count));
        for (Py_ssize_t i = 0; i < count; ++i) {
            Py_INCREF(tensors[i]);
            PyTuple_SET_ITEM(result.ptr(), i, tensors[i]);
        }
        return result;
    }

    py::object dict() const {
        py::object result = owned(PyDict_New());
        for (Py_ssize_t i = 0; i < attributes(); ++i) {
            if (PyDict_SetItem(result.ptr(), PyTuple_GET_ITEM(names, i), values[i]) < 0)
                throw py::error_already_set();
        }
        return result;
    }

    PlanCache::Key identity() const {
        PlanCache::Key result;
        result.add(op);
        for (Py_ssize_t i = 0; i < count; ++i) result.add(slot(tensors[i], slot_spec));
        for (Py_ssize_t i = 0; i < attributes(); ++i) {
            result.add(PyTuple_GET_ITEM(names, i));
            result.add_value(values[i]);
        }
        return result;
    }

    py::object key() const {
        const Py_ssize_t named = attributes();
        py::object result = owned(PyTuple_New(1 + count + (named == 0 ? 0 : 1 + named)));
        Py_ssize_t at = 0;
        const auto append = [&](PyObject* item) {
            Py_INCREF(item);
            PyTuple_SET_ITEM(result.ptr(), at++, item);
        };
        append(op);
        for (Py_ssize_t i = 0; i < count; ++i) append(slot(tensors[i], slot_spec));
        if (named > 0) {
            append(names);
            for (Py_ssize_t i = 0; i < named; ++i)
                append(is_negative_zero(values[i]) ? bound.negative_zero : values[i]);
        }
        return result;
    }
};

py::object look_up_plan(const Arguments& call) {
    const py::object key = call.key();
    if (PyObject* known = PyDict_GetItemWithError(bound.plans, key.ptr()))
        return py::reinterpret_borrow<py::object>(known);
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    py::object specs = owned(PyList_New(call.count));
    for (Py_ssize_t i = 0; i < call.count; ++i) {
        Py_INCREF(slot(call.tensors[i], slot_spec));
        PyList_SET_ITEM(specs.ptr(), i, slot(call.tensors[i], slot_spec));
    }
    const py::object attributes = call.dict();
    py::object plan = owned(PyObject_CallFunctionObjArgs(bound.make_plan, call.op, specs.ptr(),
                                                         attributes.ptr(), nullptr));
    if (PyDict_Size(bound.plans) >= kMaxPlans) PyDict_Clear(bound.plans);
    if (PyDict_SetItem(bound.plans, key.ptr(), plan.ptr()) < 0) throw py::error_already_set();
    return plan;
}

py::object find_plan(const Arguments& call) {
    const PlanCache::Key identity = call.identity();
    if (PyObject* known = plan_cache.find(identity))
        return py::reinterpret_borrow<py::object>(known);
    py::object plan = look_up_plan(call);
    for (Py_ssize_t i = 0; i < call.count; ++i) share_spec(call.tensors[i]);
    plan_cache.put(call.identity(), plan.ptr());
    return plan;
}

/// Runs the op's kernel on the Tensors' arrays.
py::object run_kernel(const Arguments& args, PyObject* plan, PyObject* out_spec) {
    const auto code = static_cast<std::size_t>(PyLong_AsSsize_t(PyTuple_GET_ITEM(plan, plan_code)));
    const OpEntry& entry = op_table().at(code);
    TensorView few[kFew];
    std::vector<TensorView> many(args.count > kFew ? static_cast<std::size_t>(args.count) : 0);
    TensorView* in = many.empty() ? few : many.data();
    Index elements = 0;
    for (Py_ssize_t i = 0; i < args.count; ++i) {
        PyObject* array = slot(args.tensors[i], slot_data);
        in[i] = view_of_array(py::reinterpret_borrow<py::array>(array), false, entry.name);
        elements += in[i].size();
    }
    py::array result =
        new_array(PyTuple_GET_ITEM(out_spec, spec_shape), PyTuple_GET_ITEM(out_spec, spec_dtype));
    const TensorView out = view_of_array(result, true, entry.name);
    PyObject* encoded = PyTuple_GET_ITEM(plan, plan_attributes);
    static_assert(offsetof(PyBytesObject, ob_sval) % alignof(double) == 0, "doubles are aligned");
    const StepContext step;
    const Call call{in,
                    static_cast<int>(args.count),
                    &out,
                    1,
                    reinterpret_cast<const double*>(PyBytes_AS_STRING(encoded)),
                    &step};
    check_call(entry, call);
    const Kernel kernel = select_kernel(entry, call);
    const auto work = [&](const Team& team) {
        const FlushDenormals flush;
        kernel(call, team);
    };
    const int threads = eager_threads > 0
                            ? eager_threads
                            : static_cast<int>(PyLong_AsLong(PyTuple_GET_ITEM(plan, plan_threads)));
    if (threads == 1 && elements + out.size() < kLongWork) {
        work(Team(0, 1, nullptr));
    } else {
        const py::gil_scoped_release release;
        run_team(threads, work);
    }
    return std::move(result);
}

/// Calls observer(op, inputs, result); what it raises comes out of `apply`.
void tell_observer(const Arguments& args, const py::object& result) {
    const py::object observer = py::reinterpret_borrow<py::object>(modes.observer);
    const py::object inputs = args.tuple();
    owned(
        PyObject_CallFunctionObjArgs(observer.ptr(), args.op, inputs.ptr(), result.ptr(), nullptr));
}

py::object apply_to(const Arguments& args) {
    require(tensor_type != nullptr, "apply: bind_tensor comes first");
    for (Py_ssize_t i = 0; i < args.count; ++i) {
        if (PyObject_TypeCheck(args.tensors[i], tensor_type) == 0)
            throw TypeError(concat("apply: operand ", i, " is no Tensor"));
        // Tensor.__new__ alone leaves the slots empty.
        for (const Slot needed : {slot_data, slot_spec, slot_requires_grad}) {
            if (slot(args.tensors[i], needed) == nullptr)
                throw TypeError(concat("apply: operand ", i, " was never initialized"));
        }
    }
    const py::object plan = find_plan(args);
    PyObject* out = PyTuple_GET_ITEM(plan.ptr(), plan_out);
    // A constant that is broadcast to the batch is known when the Program runs.
    bool symbolic = PyTuple_GET_ITEM(out, spec_batched) == Py_True;
    bool differentiable = false;
    bool state = false;
    for (Py_ssize_t i = 0; i < args.count; ++i) {
        differentiable = differentiable || requires_grad(args.tensors[i]);
        symbolic = symbolic || slot(args.tensors[i], slot_data) == Py_None;
        state = state || is_state(args.tensors[i]);
    }
    if ((differentiable || state) && !symbolic) symbolic = value_of(modes.trace).ptr() != Py_None;
    if (differentiable) {
        differentiable = PyTuple_GET_ITEM(plan.ptr(), plan_differentiable) == Py_True &&
                         value_of(modes.grad_enabled).ptr() == Py_True;
    }
    const bool view = PyTuple_GET_ITEM(plan.ptr(), plan_view) == Py_True;
    const py::object value = symbolic ? py::none()
                             : view   ? py::object(view_of_memory(slot(args.tensors[0], slot_data),
                                                                  out, is_result(args.tensors[0])))
                                      : run_kernel(args, plan.ptr(), out);
    const py::object recorded_for = symbolic ? value_of(modes.scope) : py::none();
    History history;
    history.differentiable = differentiable;
    history.scope = recorded_for.ptr();
    if (differentiable || symbolic) {
        history.op = args.op;
        history.inputs = args.tuple().release().ptr();
        history.attrs = PyTuple_GET_ITEM(plan.ptr(), plan_attrs);
    }
    py::object result = new_result(value, out, history);
    if (modes.observer != nullptr && !symbolic && !Unobserved::now()) tell_observer(args, result);
    return result;
}

PyObject* apply(PyObject*, PyObject* const* args, Py_ssize_t count, PyObject* names) {
    return guarded([&] {
        if (count < 1) throw TypeError("apply: expects an op");
        return apply_to({args[0], args + 1, count - 1, names, args + count});
    });
}

/// The numbers given as a Tensor int64: those that name a stream of random numbers are new ones in
/// every call.
PyObject* integers(PyObject*, PyObject* const* args, Py_ssize_t count) {
    return guarded([&] {
        require(tensor_type != nullptr, "integers: bind_tensor comes first");
        py::array_t<std::int64_t> values(count);
        std::int64_t* to = values.mutable_data();
        for (Py_ssize_t i = 0; i < count; ++i) {
            to[i] = PyLong_AsLongLong(args[i]);
            if (to[i] == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
        }
        return leaf(values);
    });
}

Py_ssize_t offset_of(const py::type& tensor, const char* name) {
    const py::object descriptor = tensor.attr(name);  // which a class gives as it is
    if (Py_TYPE(descriptor.ptr()) != &PyMemberDescr_Type)
        throw TypeError(concat("bind_tensor: ", name, " is no slot"));
    return reinterpret_cast<PyMemberDescrObject*>(descriptor.ptr())->d_member->offset;
}

void bind_tensor(const py::type& tensor, const py::type& spec, const py::dict& plans,
                 const py::function& make_plan, const py::object& grad_enabled,
                 const py::object& trace, const py::object& scope) {
    for (int i = 0; i < kSlots; ++i)
        tensor_offsets[static_cast<std::size_t>(i)] =
            offset_of(tensor, kSlotNames[static_cast<std::size_t>(i)]);
    const auto keep = [](const py::object& object) {
        return py::reinterpret_borrow<py::object>(object).release().ptr();
    };
    tensor_type = reinterpret_cast<PyTypeObject*>(keep(tensor));
    if (!PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(spec.ptr()), &PyTuple_Type))
        throw TypeError("bind_tensor: spec is no type of tuples");
    spec_type = reinterpret_cast<PyTypeObject*>(keep(spec));
    bound.plans = keep(plans);
    bound.make_plan = keep(make_plan);
    modes.grad_enabled = keep(grad_enabled);
    modes.trace = keep(trace);
    modes.scope = keep(scope);
    bound.negative_zero = keep(py::module_::import("builtins").attr("object")());
}

}  // namespace

void bind_eager(py::module_& m) {
    m.def("bind_tensor", &bind_tensor, py::arg("tensor"), py::arg("spec"), py::arg("plans"),
          py::arg("make_plan"), py::arg("grad_enabled"), py::arg("trace"), py::arg("scope"),
          "Tell `apply` the class of its results and of their Specs, the dict of its plans and "
          "what makes one, and the "
          "context variables that decide whether an op is recorded, and for what.");
    m.def(
        "share_spec",
        [](const py::object& spec) {
            return py::reinterpret_borrow<py::object>(shared_spec(spec.ptr()));
        },
        py::arg("spec"), "The one object that stands for all equal Specs.");
    m.def(
        "leaf",
        [](const py::array& array) {
            require(tensor_type != nullptr, "leaf: bind_tensor comes first");
            return leaf(array);
        },
        py::arg("array"),
        "A contiguous array of a supported dtype as a Tensor, without a look at it.");
    m.def(
        "now", [] { return ++tensor_clock; },
        "The next number of the clock that orders results and changes of what they came from.");
    m.def(
        "set_eager_threads", [](int threads) { return std::exchange(eager_threads, threads); },
        py::arg("threads"),
        "Threads of every eager op from now on, 0 for what its shapes ask for; gives the number "
        "before.");
    m.def(
        "set_observer",
        [](const py::object& observer) {
            PyObject* before = modes.observer;
            modes.observer = observer.is_none() ? nullptr : py::object(observer).release().ptr();
            return before == nullptr ? py::object(py::none())
                                     : py::reinterpret_steal<py::object>(before);
        },
        py::arg("observer"),
        "Call observer(op, inputs, result) after every eager op, None for nothing; gives the one "
        "before.");
    // CPython's table of methods holds functions of any signature under this one type.
    static PyMethodDef methods[] = {
        {"apply", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&apply)),
         METH_FASTCALL | METH_KEYWORDS,
         "apply(op: typing.Any, *inputs: typing.Any, **attrs: typing.Any) -> typing.Any\n\n"
         "Run an op on Tensors that hold data, or record it on symbolic ones."},
        {"integers", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&integers)),
         METH_FASTCALL,
         "integers(*numbers: int) -> typing.Any\n\n"
         "The numbers as a Tensor int64."}};
    for (PyMethodDef& method : methods)
        m.attr(method.ml_name) = owned(PyCFunction_New(&method, nullptr));
}

}  // namespace fastprop
