/// @file
/// @brief Calls of compiled functions: from arrays to the Program that was made for such ones.
///
/// Arrays alone, as most calls have them, need a look each and no Python in between: a compiled
/// forward pass of a small network took twice as long as its arithmetic.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/executable.h"
#include "bindings/guarded.h"
#include "bindings/new_tensor.h"
#include "bindings/object_of.h"
#include "bindings/traced_call.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// Kinds of arguments that are looked up; more of them are looked up in Python.
constexpr std::size_t kMostLooks = 64;

py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

/// What a call's arrays look like.
struct ArrayLook {
    PyObject* dtype;
    int rank;
    Index shape[kMaxRank];
    bool differentiable;

    /// Of an array or a Tensor that holds one; false for anything else.
    static bool of(PyObject* value, ArrayLook& look) {
        const auto& numpy = py::detail::npy_api::get();
        PyObject* array = value;
        look.differentiable = false;
        if (Py_TYPE(value) == tensor_type) {
            array = slot(value, slot_data);
            look.differentiable = requires_grad(value);
            if (array == nullptr || array == Py_None) return false;
        } else if (reinterpret_cast<PyObject*>(Py_TYPE(value)) !=
                   reinterpret_cast<PyObject*>(numpy.PyArray_Type_)) {
            return false;
        }
        constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
        const auto* proxy = py::detail::array_proxy(array);
        if ((proxy->flags & wanted) != wanted || proxy->nd > kMaxRank) return false;
        look.dtype = proxy->descr;
        look.rank = proxy->nd;
        std::copy_n(proxy->dimensions, proxy->nd, look.shape);
        return true;
    }
};

PyObject* array_of(PyObject* value) {
    return Py_TYPE(value) == tensor_type ? slot(value, slot_data) : value;
}

/// The calls of one compiled function that take arrays alone.
class CallTable {
public:
    explicit CallTable(std::optional<std::uint64_t> seed) : seed_(seed) {}

    /// The result; NotImplemented where Python has to find out what is to be done.
    py::object call(const py::tuple& args) {
        if (modes.observer != nullptr || PyTuple_GET_SIZE(args.ptr()) == 0)
            return not_implemented();
        std::vector<ArrayLook> looks(args.size());
        for (std::size_t i = 0; i < looks.size(); ++i)
            if (!ArrayLook::of(PyTuple_GET_ITEM(args.ptr(), static_cast<Py_ssize_t>(i)), looks[i]))
                return not_implemented();
        if (!value_of(modes.trace).is_none()) return not_implemented();
        const bool grad_enabled = value_of(modes.grad_enabled).ptr() == Py_True;
        const bool repeats = value_of(compiled.suppressed).ptr() == Py_True;
        for (std::size_t at = 0; at < entries_.size(); ++at) {
            const Entry& entry = entries_[at];
            if (entry.grad_enabled != grad_enabled || entry.repeats != repeats) continue;
            const Index rows = entry.rows_of(looks);
            // Others may forget this call while it is going on.
            const py::object traced = entry.call;
            auto& found = object_of<TracedCall>(traced);
            if (rows <= 0 || !found.valid || !found.serves(rows)) continue;
            if (at > 0 && at < entries_.size()) std::swap(entries_[at], entries_[0]);
            return run(found, args, arrays_of(args), rows);
        }
        return not_implemented();
    }

    py::object run(TracedCall& traced, const py::tuple& leaves, const py::tuple& arrays,
                   Index rows) {
        std::uint64_t seed = seed_.value_or(0);
        std::int64_t number = calls++;  // now: other threads may call while this run goes on
        if (traced.draws() && !seed_) {
            const py::object stream = owned(PyObject_CallNoArgs(compiled.next_stream));
            std::tie(seed, number) = stream.cast<std::pair<std::uint64_t, std::int64_t>>();
        }
        return traced.run(leaves, arrays, rows, seed, number);
    }

    /// Have calls with such arguments find `traced`. `batched`: which of them go by rows.
    void add(const py::tuple& args, const std::vector<bool>& batched, const py::object& traced) {
        Entry entry{traced, value_of(modes.grad_enabled).ptr() == Py_True,
                    value_of(compiled.suppressed).ptr() == Py_True, batched,
                    std::vector<ArrayLook>(args.size())};
        require(batched.size() == args.size(), "CallTable: expects a flag for each argument");
        for (std::size_t i = 0; i < entry.looks.size(); ++i)
            if (!ArrayLook::of(PyTuple_GET_ITEM(args.ptr(), static_cast<Py_ssize_t>(i)),
                               entry.looks[i]))
                return;
        const auto gone = [&](const Entry& e) {
            return !object_of<TracedCall>(e.call).valid ||
                   (e.call.is(traced) && e.same_kind(entry));
        };
        entries_.erase(std::remove_if(entries_.begin(), entries_.end(), gone), entries_.end());
        if (entries_.size() >= kMostLooks) entries_.pop_back();
        entries_.insert(entries_.begin(), std::move(entry));
        keep();
    }

    void clear() {
        entries_.clear();
        keep();
    }

    std::int64_t calls = 0;
    Kept kept;

private:
    struct Entry {
        py::object call;
        bool grad_enabled;
        bool repeats;
        std::vector<bool> batched;
        std::vector<ArrayLook> looks;  ///< the extent of a batch may be another one

        /// The rows of a call with arrays of such looks; -1 if it is of another kind, 1 if it has
        /// no batch.
        Index rows_of(const std::vector<ArrayLook>& given) const {
            if (given.size() != looks.size()) return -1;
            Index rows = -1;
            for (std::size_t i = 0; i < looks.size(); ++i)
                if (batched[i]) rows = given[i].rank > 0 ? given[i].shape[0] : -1;
            const bool by_rows = rows >= 0;
            for (std::size_t i = 0; i < looks.size(); ++i) {
                const ArrayLook &a = looks[i], &b = given[i];
                if (a.dtype != b.dtype || a.rank != b.rank || a.differentiable != b.differentiable)
                    return -1;
                // What has as many rows as the batch is one, whatever it was in another call.
                const int first = batched[i] ? 1 : 0;
                if (batched[i] ? b.shape[0] != rows : by_rows && b.rank > 0 && b.shape[0] == rows)
                    return -1;
                if (!std::equal(a.shape + first, a.shape + a.rank, b.shape + first)) return -1;
            }
            return by_rows ? rows : 1;
        }

        bool same_kind(const Entry& other) const {
            return grad_enabled == other.grad_enabled && repeats == other.repeats &&
                   batched == other.batched && rows_of(other.looks) >= 0;
        }
    };

    static py::tuple arrays_of(const py::tuple& args) {
        py::tuple arrays(args.size());
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args.ptr()); ++i)
            PyTuple_SET_ITEM(arrays.ptr(), i, Py_NewRef(array_of(PyTuple_GET_ITEM(args.ptr(), i))));
        return arrays;
    }

    void keep() {
        kept.clear();
        for (const Entry& entry : entries_) kept(entry.call);
    }

    std::vector<Entry> entries_;
    std::optional<std::uint64_t> seed_;  ///< none: a call that draws takes the default generator's
};

PyObject* call_table(PyObject* self, PyObject* args) {
    return guarded([&] {
        if (PyTuple_Check(args) == 0) throw TypeError("call: expects a tuple of arguments");
        return object_of<CallTable>(self).call(py::reinterpret_borrow<py::tuple>(args));
    });
}

/// A function of CPython's table of methods, which holds those of any signature under one type.
py::object function_of(PyMethodDef& method, const py::object& self) {
    return owned(PyCFunction_New(&method, self.ptr()));
}

}  // namespace

void bind_compiled(py::module_& m) {
    m.def(
        "bind_compiled",
        [](const py::type& call, const py::object& suppressed, const py::object& changes,
           const py::function& next_stream) {
            const auto keep = [](const py::object& object) {
                return py::object(object).release().ptr();
            };
            if (!PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(call.ptr()), &PyTuple_Type))
                throw TypeError("bind_compiled: call is no type of tuples");
            compiled.call_type = reinterpret_cast<PyTypeObject*>(keep(call));
            compiled.suppressed = keep(suppressed);
            compiled.changes = keep(changes);
            compiled.next_stream = keep(next_stream);
        },
        py::arg("call"), py::arg("suppressed"), py::arg("changes"), py::arg("next_stream"),
        "Tell compiled functions the class of calls, the context variable that leaves out effects, "
        "what counts changes of models, and what gives the default generator's next stream.");
    py::class_<Executable>(m, "Executable", collected<Executable>(),
                           "A Program whose results are Tensors.")
        .def(
            py::init<const py::object&, const py::object&, const std::vector<py::object>&,
                     std::size_t, std::size_t, std::size_t, std::vector<std::size_t>,
                     std::vector<std::size_t>, const std::vector<py::object>&>(),
            py::arg("program"), py::arg("chooser"), py::arg("specs"), py::arg("numbers"),
            py::arg("rows"), py::arg("given"), py::arg("wanted"), py::arg("saved"),
            py::arg("changed"),
            "Specs of recorded numbers, of rows and of arrays, of which a run takes `given`; which "
            "of them are wanted and saved; Tensors that a run changes.")
        .def(
            "saved",
            [](Executable& self, const py::tuple& call) {
                const CallView view = view_of_call(call.ptr());
                std::vector<PyObject*> sources;
                for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(view.arrays); ++i)
                    sources.push_back(PyTuple_GET_ITEM(view.arrays, i));
                return self.saved(self.run(sources, view.rows, {}, view.number, view.seed));
            },
            py::arg("call"), "Repeats a call for what its derivatives need.");
    py::class_<Connection>(m, "Connection", collected<Connection>(),
                           "How results remember the call that they came from.")
        .def(py::init<const py::object&, const py::object&, const py::object&, const py::object&,
                      std::vector<std::size_t>, std::vector<std::size_t>, std::vector<std::size_t>,
                      const py::list&>(),
             py::arg("op"), py::arg("refusal"), py::arg("result_op"), py::arg("no_history"),
             py::arg("results"), py::arg("freed"), py::arg("late"), py::arg("sources"),
             "Ops of a call and of one of its results, and positions of results. Sources are "
             "positions of leaves, or Tensors.");
    py::class_<WatchedPlaces>(m, "WatchedPlaces", collected<WatchedPlaces>(),
                              "Places where a function found values by a name.")
        .def(py::init<const py::list&, const py::list&, const py::list&, const py::list&,
                      const py::object&, const py::tuple&>(),
             py::arg("items"), py::arg("cells"), py::arg("lists"), py::arg("tensors"),
             py::arg("gone"), py::arg("plain"),
             "Items are (mapping, key, value), cells (cell, value), lists (list, its elements), "
             "Tensors (tensor, time). `gone` is the value where nothing was; what is of the "
             "classes `plain` is compared by what it is.")
        .def("same", &WatchedPlaces::same, "Whether everything is as it was.");
    py::class_<TracedCall>(m, "TracedCall", collected<TracedCall>(),
                           "What a call of a compiled function does.")
        .def(py::init<const py::object&, const py::object&, const py::list&, const py::list&,
                      const py::list&, const py::object&, const py::object&, const py::object&,
                      bool>(),
             py::arg("executable"), py::arg("connection"), py::arg("numbers"), py::arg("gradients"),
             py::arg("leaf_gradients"), py::arg("results"), py::arg("put_together"),
             py::arg("gradient_error"), py::arg("draws"),
             "Gradients are (tensor, cleared, used, left), those of leaves (position, left); what "
             "is left, and results, are positions of what is wanted, or Tensors. One result alone, "
             "or a list for put_together.")
        .def("look", &TracedCall::look, py::arg("modules"), py::arg("settings"), py::arg("watched"),
             "What has to be the same in a call: (module, mode), (optimizer, attributes, slots), "
             "the models as they are now, and what the WatchedPlaces are.")
        .def("add_size", &TracedCall::add_size, py::arg("rows"), "Let it serve so many rows, too.")
        .def("serves", &TracedCall::serves, py::arg("rows"),
             "Whether it does what the function would do now with so many rows.")
        .def_readwrite("valid", &TracedCall::valid, "False if another one has taken its place.");
    py::class_<TracedDerivative>(m, "TracedDerivative", collected<TracedDerivative>(),
                                 "Derivatives by what the results of a call came from.")
        .def(py::init<const py::object&, const py::object&, const py::list&, const py::list&,
                      const py::list&, bool, const py::object&, const py::object&>(),
             py::arg("executable"), py::arg("connection"), py::arg("reads"), py::arg("dtypes"),
             py::arg("gradients"), py::arg("resumes"), py::arg("changed_error"),
             py::arg("dtype_error"),
             "Gradients are positions of what is wanted, or what stands for zero.")
        .def(
            "run",
            [](TracedDerivative& self, const py::object& y, const py::tuple& call,
               const py::tuple& saved, const py::list& given) {
                std::vector<PyObject*> tensors;
                for (const py::handle d : given) {
                    if (!is_tensor(d.ptr())) throw TypeError("TracedDerivative: expects Tensors");
                    tensors.push_back(d.ptr());
                }
                return self.run(y.ptr(), call.ptr(), saved.ptr(), tensors);
            },
            py::arg("y"), py::arg("call"), py::arg("saved"), py::arg("given"),
            "The derivatives, from those by the results of the call that made `y`.");

    // CPython's table of methods holds functions of any signature under this one type.
    static PyMethodDef call_method = {"call", &call_table, METH_O, nullptr};
    py::class_<CallTable>(m, "CallTable", collected<CallTable>(),
                          "The calls of one compiled function that take arrays alone.")
        .def(py::init<std::optional<std::uint64_t>>(), py::arg("seed"))
        .def_readwrite("calls", &CallTable::calls, "How many there were, which draws new numbers.")
        .def("add", &CallTable::add, py::arg("args"), py::arg("batched"), py::arg("traced"),
             "Have calls with arrays like `args` find `traced`.")
        .def("clear", &CallTable::clear, "Forget all.")
        .def(
            "run",
            [](CallTable& self, const py::object& traced, const py::tuple& leaves,
               const py::tuple& arrays, Index rows) {
                return self.run(object_of<TracedCall>(traced), leaves, arrays, rows);
            },
            py::arg("traced"), py::arg("leaves"), py::arg("arrays"), py::arg("rows"),
            "Do a call that was found otherwise.")
        .def(
            "function", [](const py::object& self) { return function_of(call_method, self); },
            "A function of a tuple of arguments: the result of the call, NotImplemented where "
            "Python has to look.");
}

}  // namespace fastprop
