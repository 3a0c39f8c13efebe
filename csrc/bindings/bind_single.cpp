/// @file
/// @brief Single calls of a Trainer, `predict` and `train_step`, once Python has found out what
/// they take: arrays that look like the latest ones go to their Program without more of Python.

#include <pybind11/pybind11.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/collected.h"
#include "bindings/form.h"
#include "bindings/interned.h"
#include "bindings/new_tensor.h"
#include "bindings/program_run.h"
#include "bindings/tensor_slots.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// A Program of Python's for a number of rows.
struct RowsProgram {
    Index least;
    Index most;
    PyObject* program;
    BoundProgram* bound;

    int threads() const {
        const py::object threads = owned(PyObject_GetAttr(program, names().threads));
        return static_cast<int>(PyLong_AsLong(threads.ptr()));
    }
};

/// What single calls of one kind need: the latest look of their arrays, and Programs by the rows.
class SingleCalls {
public:
    explicit SingleCalls(const py::object& changes) : changes_(kept(changes)) {}

    /// Calls with arrays of these forms may use Programs from now on, until a model changes.
    void begin(const py::object& x, const py::object& y) {
        const py::object changes = py::reinterpret_borrow<py::object>(changes_);
        programs_.clear();
        kept.clear();
        kept(changes);
        x_ = &py::handle(kept(x)).cast<const Form&>();
        y_ = y.is_none() ? nullptr : &py::handle(kept(y)).cast<const Form&>();
        seen_ = latest();
    }

    void add(Index least, Index most, const py::object& program) {
        for (const RowsProgram& p : programs_)
            if (p.least == least && p.program == program.ptr()) return;
        if (programs_.size() >= kMost) return;
        programs_.push_back({least, most, kept(program),
                             &bound_program(py::handle(kept(program.attr("_program"))))});
    }

    Kept kept;

protected:
    /// The Program for a call with such arrays; null if Python has to look.
    const RowsProgram* find(PyObject* x, PyObject* y, bool finite) const {
        if (seen_ < 0 || seen_ != latest()) return nullptr;
        if (!x_->fits(x, finite) || (y_ != nullptr && !y_->fits(y, finite))) return nullptr;
        const Index rows = rows_of(x);
        if (y_ != nullptr && rows_of(y) != rows) return nullptr;
        const auto fits = [&](const RowsProgram& p) { return p.least <= rows && rows <= p.most; };
        const auto found = std::find_if(programs_.begin(), programs_.end(), fits);
        return found == programs_.end() ? nullptr : &*found;
    }

    static Index rows_of(PyObject* array) { return py::detail::array_proxy(array)->dimensions[0]; }

    static void add_source(SingleStep& step, PyObject* array) {
        step.request.sources.push_back(
            view_of_array(py::reinterpret_borrow<py::array>(array), false, "Program.run"));
    }

private:
    static constexpr std::size_t kMost = 8;

    long long latest() const {
        return PyLong_AsLongLong(owned(PyObject_GetAttr(changes_, names().latest)).ptr());
    }

    PyObject* changes_;
    const Form* x_ = nullptr;
    const Form* y_ = nullptr;
    long long seen_ = -1;
    std::vector<RowsProgram> programs_;
};

/// Calls of `predict` with one array, where the model has one input.
class Predictor : public SingleCalls {
public:
    Predictor(const py::object& changes, std::uint64_t seed) : SingleCalls(changes), seed_(seed) {}

    /// The outputs; None where Python has to look.
    py::object call(PyObject* x, bool finite) const {
        const RowsProgram* found = find(x, nullptr, finite);
        if (found == nullptr) return py::none();
        const RowsProgram program = *found;
        const py::object alive = py::reinterpret_borrow<py::object>(program.program);
        SingleStep step;
        add_source(step, x);
        step.request.seed = seed_;
        step.request.threads = program.threads();
        run_single_step(*program.bound, rows_of(x), step);
        if (step.result.stop == Stop::interrupt) step.raise_interrupt();
        if (step.rows.size() == 1) return std::move(step.rows[0]);
        py::tuple outputs(step.rows.size());
        for (std::size_t i = 0; i < step.rows.size(); ++i) outputs[i] = step.rows[i];
        return std::move(outputs);
    }

private:
    std::uint64_t seed_;
};

/// Calls of `train_step` with one array of inputs and one of targets.
class Stepper : public SingleCalls {
public:
    Stepper(const py::object& changes, std::uint64_t seed) : SingleCalls(changes), seed_(seed) {}

    /// Whose steps they are. `attributes`, `slots`: what the optimizer's have to be as long as they
    /// are done.
    void steps_of(const py::object& optimizer, const py::object& attributes,
                  const py::object& slots) {
        optimizer_ = kept(optimizer);
        attributes_ = kept(attributes);
        slots_ = kept(slots);
    }

    /// The loss, taken before an update, which is not done if the loss is not finite; None where
    /// Python has to look. The trainer is told the Program.
    py::object call(PyObject* trainer, PyObject* x, PyObject* y) const {
        const RowsProgram* found = find(x, y, true);
        if (found == nullptr || optimizer_ == nullptr || !same_attributes()) return py::none();
        const RowsProgram program = *found;
        // Whoever runs meanwhile may forget them.
        const auto alive = py::reinterpret_borrow<py::object>(program.program);
        const auto optimizer = py::reinterpret_borrow<py::object>(optimizer_);
        if (PyObject_SetAttr(trainer, names().program, program.program) < 0)
            throw py::error_already_set();
        static PyObject* const one = owned(PyLong_FromLong(1)).release().ptr();
        const py::object before = owned(PyObject_GetAttr(optimizer.ptr(), names().steps));
        const py::object numbers = owned(PyObject_CallMethodObjArgs(
            optimizer.ptr(), names().step_scalars, before.ptr(), one, nullptr));
        SingleStep step;
        take_numbers(numbers, step.request);
        add_source(step, x);
        add_source(step, y);
        step.request.first_step = PyLong_AsLongLong(before.ptr());
        step.request.seed = seed_;
        step.request.threads = program.threads();
        run_single_step(*program.bound, rows_of(x), step);
        if (step.result.steps > 0) {
            const py::object after =
                owned(PyLong_FromLongLong(step.request.first_step + step.result.steps));
            if (PyObject_SetAttr(optimizer.ptr(), names().steps, after.ptr()) < 0)
                throw py::error_already_set();
        }
        const py::object parameters = owned(PyObject_GetAttr(optimizer.ptr(), names().parameters));
        for (const py::handle item : parameters.cast<py::list>()) set_time(item.ptr());
        if (step.result.stop == Stop::interrupt) step.raise_interrupt();
        return owned(PyFloat_FromDouble(step.values.at(0)));
    }

private:
    bool same_attributes() const {
        const py::object now = owned(PyObject_CallMethodNoArgs(optimizer_, names().attributes));
        const py::object slots = owned(PyObject_GetAttr(optimizer_, names().slots));
        const int same = PyObject_RichCompareBool(now.ptr(), attributes_, Py_EQ);
        const int alike = PyObject_RichCompareBool(slots.ptr(), slots_, Py_EQ);
        if (same < 0 || alike < 0) throw py::error_already_set();
        return same > 0 && alike > 0;
    }

    static void take_numbers(const py::object& numbers, RunRequest& request) {
        const TensorView view = view_of_array(numbers.cast<py::array>(), false, "Program.run");
        require(view.dtype == DType::f64 && view.rank == 2 && view.rows() == 1,
                "Program.run: step scalars must be float64 with 1 rows");
        request.scalars = view.as<double>();
        request.scalars_per_step = view.last();
    }

    std::uint64_t seed_;
    PyObject* optimizer_ = nullptr;
    PyObject* attributes_ = nullptr;
    PyObject* slots_ = nullptr;
};

template <class Calls>
py::class_<Calls> bind_calls(py::module_& m, const char* name, const char* doc) {
    return py::class_<Calls>(m, name, collected<Calls>(), doc)
        .def(py::init<const py::object&, std::uint64_t>(), py::arg("changes"), py::arg("seed"))
        .def("begin", &Calls::begin, py::arg("x"), py::arg("y"),
             "Calls with arrays of these forms may use Programs from now on, until a model "
             "changes; forgets those before.")
        .def("add", &Calls::add, py::arg("least"), py::arg("most"), py::arg("program"),
             "The Program for so many rows.");
}

}  // namespace

void bind_single(py::module_& m) {
    bind_calls<Predictor>(m, "Predictor", "Predictions of arrays that look like the latest ones.")
        .def(
            "predict",
            [](const Predictor& self, const py::object& x, bool finite) {
                return self.call(x.ptr(), finite);
            },
            py::arg("x"), py::arg("finite"), "The outputs; None where Python has to look.");
    bind_calls<Stepper>(m, "Stepper", "Steps on arrays that look like the latest ones.")
        .def("steps_of", &Stepper::steps_of, py::arg("optimizer"), py::arg("attributes"),
             py::arg("slots"),
             "Whose steps they are, while the optimizer's attributes and slots are these. Comes "
             "after begin.")
        .def(
            "step",
            [](const Stepper& self, const py::object& trainer, const py::object& x,
               const py::object& y) { return self.call(trainer.ptr(), x.ptr(), y.ptr()); },
            py::arg("trainer"), py::arg("x"), py::arg("y"),
            "The loss, taken before an update, which is not done if the loss is not finite; None "
            "where Python has to look. Sets trainer.program.");
}

}  // namespace fastprop
