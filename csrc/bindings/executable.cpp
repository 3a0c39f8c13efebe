#include "bindings/executable.h"

#include <chrono>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/interned.h"
#include "bindings/new_tensor.h"
#include "bindings/plan_cache.h"

namespace py = pybind11;

namespace fastprop {
namespace {

using Clock = std::chrono::steady_clock;

py::object attribute(PyObject* object, PyObject* name) {
    return owned(PyObject_GetAttr(object, name));
}

/// A recorded number as an array without axes.
py::object number_array(double value, PyObject* spec) {
    py::array array =
        new_array(PyTuple_GET_ITEM(spec, spec_shape), PyTuple_GET_ITEM(spec, spec_dtype));
    void* data = py::detail::array_proxy(array.ptr())->data;
    if (array.itemsize() == sizeof(float)) {
        *static_cast<float*>(data) = static_cast<float>(value);
    } else {
        *static_cast<double*>(data) = value;
    }
    return std::move(array);
}

/// A Spec of the class of `like`, with another first extent.
py::object with_rows(PyObject* like, Index rows) {
    PyObject* extents = PyTuple_GET_ITEM(like, spec_shape);
    py::object shape = owned(PyTuple_New(PyTuple_GET_SIZE(extents)));
    PyTuple_SET_ITEM(shape.ptr(), 0, owned(PyLong_FromSsize_t(rows)).release().ptr());
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(extents); ++i)
        PyTuple_SET_ITEM(shape.ptr(), i, Py_NewRef(PyTuple_GET_ITEM(extents, i)));
    const py::object spec = owned(Py_TYPE(like)->tp_alloc(Py_TYPE(like), PyTuple_GET_SIZE(like)));
    PyTuple_SET_ITEM(spec.ptr(), spec_shape, shape.release().ptr());
    PyTuple_SET_ITEM(spec.ptr(), spec_dtype, Py_NewRef(PyTuple_GET_ITEM(like, spec_dtype)));
    PyTuple_SET_ITEM(spec.ptr(), spec_batched, Py_NewRef(Py_False));
    return py::reinterpret_borrow<py::object>(shared_spec(spec.ptr()));
}

}  // namespace

Executable::Executable(const py::object& program, const py::object& chooser,
                       const std::vector<py::object>& specs, std::size_t numbers, std::size_t rows,
                       std::size_t given, std::vector<std::size_t> wanted,
                       std::vector<std::size_t> saved, const std::vector<py::object>& changed)
    : program_(kept(program)),
      chooser_(kept(chooser)),
      bound_(bound_program(py::handle(kept(program.attr("_program"))))),
      least_rows_(program.attr("least_rows").cast<Index>()),
      step_numbers_(program.attr("step_numbers").cast<Index>()),
      numbers_(numbers),
      rows_(rows),
      given_(given),
      wanted_(std::move(wanted)),
      saved_(std::move(saved)) {
    require(numbers + rows + given <= specs.size(), "Executable: too few specs");
    for (const py::object& spec : specs) {
        const bool fits = PyTuple_Check(spec.ptr()) && PyTuple_GET_SIZE(spec.ptr()) > spec_batched;
        require(fits, "Executable: expects Specs");
        specs_.push_back(kept(spec));
    }
    for (const std::vector<std::size_t>* positions : {&wanted_, &saved_})
        for (const std::size_t at : *positions)
            require(at < specs_.size(), "Executable: no output ", at);
    for (const py::object& tensor : changed) {
        require(is_tensor(tensor.ptr()), "Executable: expects Tensors");
        changed_.push_back(kept(tensor));
    }
}

Executable::Threads Executable::choose_threads() const {
    if (attribute(chooser_, names().choosing).ptr() != Py_True)
        return {attribute(program_, names().threads).cast<int>(), false};
    const py::object next = owned(PyObject_CallMethodNoArgs(chooser_, names().next));
    return {py::reinterpret_borrow<py::tuple>(next)[0].cast<int>(), true};
}

/// Tells the chooser, and the Program what is best now.
void Executable::learn(int threads, Index steps, double seconds) const {
    owned(PyObject_CallMethod(chooser_, "took", "ind", threads, steps, seconds));
    const py::object best = attribute(chooser_, names().best);
    if (PyObject_SetAttr(program_, names().threads, best.ptr()) < 0) throw py::error_already_set();
}

Executable::Arrays Executable::run(const std::vector<PyObject*>& sources, Index rows,
                                   StepRow numbers, std::int64_t number, std::uint64_t seed) {
    require(rows >= least_rows_, "Program.run: ", rows, " rows in batches of ", rows,
            " leave a batch of 1, which has no variance");
    require(numbers.width == step_numbers_, "Program.run: step_scalars: expects ", step_numbers_,
            " numbers a step, got ", numbers.width);
    Arrays found(specs_.size());
    for (std::size_t k = numbers_ + rows_; k < specs_.size(); ++k)
        found[k] = new_array(PyTuple_GET_ITEM(specs_[k], spec_shape),
                             PyTuple_GET_ITEM(specs_[k], spec_dtype));
    SingleStep step;
    RunRequest& request = step.request;
    request.sources.reserve(sources.size() + given_);
    for (PyObject* source : sources)
        request.sources.push_back(
            view_of_array(py::reinterpret_borrow<py::array>(source), false, "Program.run"));
    for (std::size_t k = 0; k < given_; ++k)
        request.sources.push_back(view_of_array(
            py::reinterpret_borrow<py::array>(found[numbers_ + rows_ + k]), true, "Program.run"));
    request.scalars = numbers.numbers;
    request.scalars_per_step = numbers.width;
    request.first_step = number;
    request.seed = seed;
    const Threads threads = choose_threads();
    request.threads = threads.count;
    const auto start = threads.compared ? Clock::now() : Clock::time_point();
    run_single_step(bound_, rows, step);
    if (threads.compared)
        learn(threads.count, step.result.steps,
              std::chrono::duration<double>(Clock::now() - start).count());
    if (step.result.stop == Stop::interrupt) step.raise_interrupt();
    for (PyObject* tensor : changed_) set_time(tensor);
    for (std::size_t k = 0; k < numbers_; ++k) found[k] = number_array(step.values[k], specs_[k]);
    for (std::size_t k = 0; k < rows_; ++k) found[numbers_ + k] = std::move(step.rows[k]);
    return found;
}

PyObject* Executable::spec_of(std::size_t output, Index rows) {
    if (output < numbers_ || output >= numbers_ + rows_) return specs_[output];
    if (latest_rows_ != rows) {
        std::vector<py::object> made;
        for (std::size_t k = 0; k < rows_; ++k)
            made.push_back(with_rows(specs_[numbers_ + k], rows));
        row_specs_ = std::move(made);
        latest_rows_ = rows;
    }
    return row_specs_[output - numbers_].ptr();
}

std::vector<py::object> Executable::tensors(const Arrays& found, Index rows) {
    std::vector<py::object> made;
    made.reserve(wanted_.size());
    for (const std::size_t k : wanted_)
        made.push_back(new_leaf(py::reinterpret_borrow<py::array>(found[k]), spec_of(k, rows)));
    return made;
}

py::tuple Executable::saved(const Arrays& found) const {
    py::tuple arrays(saved_.size());
    for (std::size_t i = 0; i < saved_.size(); ++i) arrays[i] = found[saved_[i]];
    return arrays;
}

}  // namespace fastprop
