#include "bindings/traced_call.h"

#include <algorithm>
#include <utility>

#include "bindings/interned.h"
#include "bindings/new_tensor.h"
#include "bindings/object_of.h"
#include "bindings/tensor_slots.h"
#include "bindings/walk.h"

namespace py = pybind11;

namespace fastprop {
namespace {

bool equal(PyObject* a, PyObject* b) {
    const int same = PyObject_RichCompareBool(a, b, Py_EQ);
    if (same < 0) throw py::error_already_set();
    return same > 0;
}

/// Gives a value a history.
void remember(PyObject* tensor, PyObject* op, PyObject* inputs, PyObject* attrs) {
    replace(tensor, slot_op, op);
    replace(tensor, slot_inputs, inputs);
    replace(tensor, slot_attrs, attrs);
    replace(tensor, slot_requires_grad, Py_True);
    set_time(tensor);
}

py::object new_dict(PyObject* key, PyObject* value) {
    py::object dict = owned(PyDict_New());
    if (PyDict_SetItem(dict.ptr(), key, value) < 0) throw py::error_already_set();
    return dict;
}

void add_gradient(PyObject* tensor, PyObject* value) {
    const py::object before = py::reinterpret_borrow<py::object>(slot(tensor, slot_grad));
    if (before.is_none()) {
        replace(tensor, slot_grad, value);
    } else {
        replace(tensor, slot_grad, owned(PyNumber_Add(before.ptr(), value)).ptr());
    }
}

std::vector<PyObject*> array_pointers(PyObject* arrays) {
    std::vector<PyObject*> pointers(static_cast<std::size_t>(PyTuple_GET_SIZE(arrays)));
    for (std::size_t i = 0; i < pointers.size(); ++i)
        pointers[i] = PyTuple_GET_ITEM(arrays, static_cast<Py_ssize_t>(i));
    return pointers;
}

/// A node for several results of a call, which has no value of its own.
py::object new_node() {
    static PyObject* const nothing = [] {
        const py::array empty = py::array_t<float>(0);
        const py::object spec = owned(PyTuple_New(spec_batched + 1));
        PyTuple_SET_ITEM(spec.ptr(), spec_shape, py::make_tuple(0).release().ptr());
        PyTuple_SET_ITEM(spec.ptr(), spec_dtype, empty.dtype().release().ptr());
        PyTuple_SET_ITEM(spec.ptr(), spec_batched, Py_NewRef(Py_False));
        return py::make_tuple(empty, spec).release().ptr();
    }();
    return new_leaf(py::reinterpret_borrow<py::array>(PyTuple_GET_ITEM(nothing, 0)),
                    PyTuple_GET_ITEM(nothing, 1));
}

}  // namespace

Outcome Outcome::of(const py::handle& item, Kept& kept) {
    if (PyLong_CheckExact(item.ptr()) != 0) return {item.cast<std::ptrdiff_t>(), nullptr};
    return {-1, kept(item)};
}

CallView view_of_call(PyObject* call) {
    require(PyTuple_Check(call) && PyTuple_GET_SIZE(call) > call_number, "expects a Call");
    const auto field = [&](CallField which) { return PyTuple_GET_ITEM(call, which); };
    require(PyTuple_Check(field(call_leaves)) && PyTuple_Check(field(call_arrays)),
            "a Call holds tuples");
    CallView view{field(call_leaves), field(call_arrays),
                  static_cast<Index>(PyLong_AsLongLong(field(call_rows))),
                  PyLong_AsUnsignedLongLong(field(call_seed)),
                  PyLong_AsLongLong(field(call_number))};
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    return view;
}

py::object new_call(PyObject* leaves, PyObject* arrays, Index rows, std::uint64_t seed,
                    std::int64_t number) {
    py::object call = owned(compiled.call_type->tp_alloc(compiled.call_type, call_number + 1));
    const auto put = [&](CallField which, const py::object& value) {
        PyTuple_SET_ITEM(call.ptr(), which, py::object(value).release().ptr());
    };
    put(call_leaves, py::reinterpret_borrow<py::object>(leaves));
    put(call_arrays, py::reinterpret_borrow<py::object>(arrays));
    put(call_rows, owned(PyLong_FromSsize_t(rows)));
    put(call_seed, owned(PyLong_FromUnsignedLongLong(seed)));
    put(call_number, owned(PyLong_FromLongLong(number)));
    return call;
}

// -- what results remember
// -------------------------------------------------------------------------

Connection::Connection(const py::object& op, const py::object& refusal, const py::object& result_op,
                       const py::object& no_history, std::vector<std::size_t> results,
                       std::vector<std::size_t> freed, std::vector<std::size_t> late,
                       const py::list& sources)
    : op_(kept(op)),
      refusal_(kept(refusal)),
      result_op_(kept(result_op)),
      no_history_(kept(no_history)),
      results_(std::move(results)),
      freed_(std::move(freed)),
      late_(std::move(late)) {
    for (const py::handle item : sources) sources_.push_back(Outcome::of(item, kept));
}

void Connection::connect(const std::vector<py::object>& values, PyObject* call,
                         PyObject* saved) const {
    static PyObject* const no_inputs = owned(PyTuple_New(0)).release().ptr();
    for (const std::size_t k : freed_) replace(values.at(k).ptr(), slot_attrs, no_history_);
    for (const std::size_t k : late_)
        remember(values.at(k).ptr(), refusal_, no_inputs, owned(PyDict_New()).ptr());
    if (results_.empty()) return;
    PyObject* leaves = PyTuple_GET_ITEM(call, call_leaves);
    const py::object inputs = owned(PyTuple_New(static_cast<Py_ssize_t>(sources_.size())));
    for (std::size_t i = 0; i < sources_.size(); ++i) {
        const Outcome& source = sources_[i];
        PyObject* input =
            source.position < 0 ? source.known : PyTuple_GET_ITEM(leaves, source.position);
        PyTuple_SET_ITEM(inputs.ptr(), static_cast<Py_ssize_t>(i), Py_NewRef(input));
    }
    const py::object attrs = new_dict(names().call, call);
    if (PyDict_SetItem(attrs.ptr(), names().saved, saved) < 0) throw py::error_already_set();
    if (results_.size() == 1) {
        remember(values.at(results_[0]).ptr(), op_, inputs.ptr(), attrs.ptr());
        return;
    }
    const py::object node = new_node();
    remember(node.ptr(), op_, inputs.ptr(), attrs.ptr());
    const py::object behind = owned(PyTuple_Pack(1, node.ptr()));
    for (std::size_t i = 0; i < results_.size(); ++i) {
        const py::object index = owned(PyLong_FromSize_t(i));
        remember(values.at(results_[i]).ptr(), result_op_, behind.ptr(),
                 new_dict(names().index, index.ptr()).ptr());
    }
}

// -- a call
// ----------------------------------------------------------------------------------------

TracedCall::TracedCall(const py::object& executable, const py::object& connection,
                       const py::list& numbers, const py::list& gradients,
                       const py::list& leaf_gradients, const py::object& results,
                       const py::object& put_together, const py::object& gradient_error, bool draws)
    : executable_object_(kept(executable)),
      executable_(executable.cast<Executable&>()),
      single_(!py::isinstance<py::list>(results)),
      put_together_(kept(put_together)),
      gradient_error_(kept(gradient_error)),
      draws_(draws) {
    if (!connection.is_none())
        connection_ = &py::handle(kept(connection)).cast<const Connection&>();
    for (const py::handle item : numbers) {
        PyObject* source = kept(item);
        numbers_.push_back(source);
        const auto same = [&](const Source& s) { return s.source == source; };
        const auto known = std::find_if(sources_.begin(), sources_.end(), same);
        if (known != sources_.end()) {
            ++known->steps;
        } else {
            sources_.push_back({source, 1});
        }
    }
    for (const py::handle item : gradients) {
        const auto parts = item.cast<py::tuple>();
        Gradient gradient{kept(parts[0]), parts[1].cast<bool>(), parts[2].cast<bool>(), {}};
        require(is_tensor(gradient.tensor), "TracedCall: expects a Tensor with each gradient");
        if (!parts[3].is_none()) gradient.left = Outcome::of(parts[3], kept);
        gradients_.push_back(gradient);
    }
    for (const py::handle item : leaf_gradients) {
        const auto parts = item.cast<py::tuple>();
        leaf_gradients_.emplace_back(parts[0].cast<Py_ssize_t>(), Outcome::of(parts[1], kept));
    }
    if (single_) {
        results_.push_back(Outcome::of(results, kept));
    } else {
        for (const py::handle item : results) results_.push_back(Outcome::of(item, kept));
    }
}

void TracedCall::look(const py::list& modules, const py::list& settings,
                      const py::object& watched) {
    modes_ = kept(py::tuple(modules));
    settings_ = kept(py::tuple(settings));
    watched_ = &object_of<WatchedPlaces>(kept(watched));
    const py::object latest = owned(PyObject_GetAttr(compiled.changes, names().latest));
    changes_ = PyLong_AsLongLong(latest.ptr());
}

bool TracedCall::serves(Index rows) const {
    if (modes_ == nullptr || sizes_.count(rows) == 0) return false;
    const py::object latest = owned(PyObject_GetAttr(compiled.changes, names().latest));
    if (PyLong_AsLongLong(latest.ptr()) != changes_) return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(modes_); ++i) {
        PyObject* item = PyTuple_GET_ITEM(modes_, i);
        const py::object mode =
            owned(PyObject_GetAttr(PyTuple_GET_ITEM(item, 0), names().training));
        if (mode.ptr() != PyTuple_GET_ITEM(item, 1)) return false;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(settings_); ++i) {
        PyObject* item = PyTuple_GET_ITEM(settings_, i);
        PyObject* source = PyTuple_GET_ITEM(item, 0);
        const py::object attributes = owned(PyObject_CallMethodNoArgs(source, names().attributes));
        const py::object slots = owned(PyObject_GetAttr(source, names().slots));
        if (!equal(attributes.ptr(), PyTuple_GET_ITEM(item, 1)) ||
            !equal(slots.ptr(), PyTuple_GET_ITEM(item, 2)))
            return false;
    }
    return watched_->same();
}

/// A gradient from before would have to be added to the one that an optimizer uses.
void TracedCall::check_gradients() const {
    for (const Gradient& gradient : gradients_) {
        if (gradient.used && !gradient.cleared && slot(gradient.tensor, slot_grad) != Py_None)
            raise(owned(PyObject_CallFunctionObjArgs(gradient_error_, gradient.tensor, nullptr)));
    }
}

/// What the optimizers give for the next step of each.
std::vector<double> TracedCall::next_numbers() const {
    std::vector<double> row;
    std::vector<std::pair<PyObject*, long long>> next;
    static PyObject* const one = owned(PyLong_FromLong(1)).release().ptr();
    for (PyObject* source : numbers_) {
        const auto same = [&](const auto& item) { return item.first == source; };
        auto found = std::find_if(next.begin(), next.end(), same);
        if (found == next.end()) {
            const py::object steps = owned(PyObject_GetAttr(source, names().steps));
            next.emplace_back(source, PyLong_AsLongLong(steps.ptr()));
            found = next.end() - 1;
        }
        const py::object step = owned(PyLong_FromLongLong(found->second++));
        const py::object part = owned(
            PyObject_CallMethodObjArgs(source, names().step_scalars, step.ptr(), one, nullptr));
        const auto numbers = py::array_t<double, py::array::c_style>::ensure(part);
        if (!numbers) throw py::error_already_set();
        row.insert(row.end(), numbers.data(), numbers.data() + numbers.size());
    }
    return row;
}

void TracedCall::count_steps() const {
    for (const Source& item : sources_) {
        const py::object before = owned(PyObject_GetAttr(item.source, names().steps));
        const py::object now =
            owned(PyLong_FromLongLong(PyLong_AsLongLong(before.ptr()) + item.steps));
        if (PyObject_SetAttr(item.source, names().steps, now.ptr()) < 0)
            throw py::error_already_set();
    }
}

/// What the function does to the `grad` of Tensors that live on.
void TracedCall::settle_gradients(const std::vector<py::object>& values) const {
    for (const Gradient& gradient : gradients_) {
        if (gradient.cleared || !gradient.left) replace(gradient.tensor, slot_grad, Py_None);
        if (gradient.left && !gradient.used)
            add_gradient(gradient.tensor, gradient.left->in(values));
    }
}

py::object TracedCall::run(const py::tuple& leaves, const py::tuple& arrays, Index rows,
                           std::uint64_t seed, std::int64_t number) {
    check_gradients();
    const std::vector<double> numbers = next_numbers();
    const Executable::Arrays found =
        executable_.run(array_pointers(arrays.ptr()), rows,
                        {numbers.data(), static_cast<Index>(numbers.size())}, number, seed);
    count_steps();
    const std::vector<py::object> values = executable_.tensors(found, rows);
    settle_gradients(values);
    for (const auto& [leaf, gradient] : leaf_gradients_) {
        PyObject* tensor = PyTuple_GetItem(leaves.ptr(), leaf);
        if (tensor == nullptr) throw py::error_already_set();
        if (is_tensor(tensor)) add_gradient(tensor, gradient.in(values));
    }
    if (connection_ != nullptr)
        connection_->connect(values, new_call(leaves.ptr(), arrays.ptr(), rows, seed, number).ptr(),
                             executable_.saved(found).ptr());
    if (single_) return py::reinterpret_borrow<py::object>(results_[0].in(values));
    py::list results;
    for (const Outcome& result : results_) results.append(py::handle(result.in(values)));
    return owned(PyObject_CallFunctionObjArgs(put_together_, results.ptr(), nullptr));
}

// -- derivatives
// -----------------------------------------------------------------------------------

TracedDerivative::TracedDerivative(const py::object& executable, const py::object& connection,
                                   const py::list& reads, const py::list& dtypes,
                                   const py::list& gradients, bool resumes,
                                   const py::object& changed_error, const py::object& dtype_error)
    : executable_(py::handle(kept(executable)).cast<Executable&>()),
      resumes_(resumes),
      changed_error_(kept(changed_error)),
      dtype_error_(kept(dtype_error)) {
    if (!connection.is_none())
        connection_ = &py::handle(kept(connection)).cast<const Connection&>();
    for (const py::handle tensor : reads) {
        require(is_tensor(tensor.ptr()), "TracedDerivative: reads Tensors");
        reads_.push_back(kept(tensor));
    }
    for (const py::handle dtype : dtypes) dtypes_.push_back(kept(dtype));
    for (const py::handle item : gradients) gradients_.push_back(Outcome::of(item, kept));
}

void TracedDerivative::check(PyObject* y, PyObject* leaves,
                             const std::vector<PyObject*>& given) const {
    const long long made = time_of(y);
    const auto unchanged = [&](PyObject* tensor) {
        if (time_of(tensor) > made)
            raise(owned(PyObject_CallFunctionObjArgs(changed_error_, tensor, nullptr)));
    };
    for (PyObject* tensor : reads_) unchanged(tensor);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(leaves); ++i)
        if (is_tensor(PyTuple_GET_ITEM(leaves, i))) unchanged(PyTuple_GET_ITEM(leaves, i));
    require(given.size() == dtypes_.size(), "TracedDerivative: expects ", dtypes_.size(),
            " derivatives, got ", given.size());
    for (std::size_t k = 0; k < given.size(); ++k) {
        PyObject* dtype = slot(given[k], slot_dtype);
        if (dtype == dtypes_[k]) continue;
        if (!equal(dtype, dtypes_[k]))
            raise(owned(PyObject_CallFunctionObjArgs(dtype_error_, dtype, dtypes_[k], nullptr)));
    }
}

py::list TracedDerivative::run(PyObject* y, PyObject* call, PyObject* saved,
                               const std::vector<PyObject*>& given) {
    const CallView view = view_of_call(call);
    check(y, view.leaves, given);
    std::vector<PyObject*> sources = array_pointers(view.arrays);
    std::vector<py::object> contiguous;
    for (PyObject* d : given) {
        contiguous.push_back(py::array::ensure(slot(d, slot_data), py::array::c_style));
        if (!contiguous.back()) throw py::error_already_set();
        sources.push_back(contiguous.back().ptr());
    }
    const std::size_t inputs = sources.size();
    for (PyObject* array : array_pointers(saved)) sources.push_back(array);
    const Executable::Arrays found =
        executable_.run(sources, view.rows, {}, view.number, view.seed);
    const std::vector<py::object> values = executable_.tensors(found, view.rows);
    if (connection_ != nullptr) {
        const auto joined = [](PyObject* first, const auto& more) {
            py::list all = py::reinterpret_steal<py::list>(PySequence_List(first));
            for (const auto& item : more) all.append(py::handle(item));
            return py::tuple(all);
        };
        sources.resize(inputs);
        connection_->connect(
            values,
            new_call(joined(view.leaves, given).ptr(), joined(view.arrays, contiguous).ptr(),
                     view.rows, view.seed, view.number)
                .ptr(),
            py::tuple().ptr());
    }
    py::list gradients;
    for (const Outcome& gradient : gradients_) gradients.append(py::handle(gradient.in(values)));
    return gradients;
}

}  // namespace fastprop
