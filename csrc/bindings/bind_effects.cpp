/// @file
/// @brief `overwrite`: runs a kernel that writes into Tensors which are there already, at once.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/tensor_slots.h"
#include "core/denormals.h"
#include "program/op.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// Bytes from which on a thread more pays: about 15 µs of work.
constexpr std::size_t kBytesPerThread = 225'000;

/// The array of a Tensor, or the array itself.
TensorView view_of(py::handle operand, bool writable, const char* op) {
    PyObject* array = is_tensor(operand.ptr()) ? slot(operand.ptr(), slot_data) : operand.ptr();
    if (array == nullptr || !py::isinstance<py::array>(array))
        throw TypeError(concat(op, ": an operand has no data"));
    return view_of_array(py::reinterpret_borrow<py::array>(array), writable, op);
}

double number(PyObject* object) {
    const double value = PyFloat_AsDouble(object);
    if (value == -1.0 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    return value;
}

std::vector<double> numbers_of(const py::sequence& sequence) {
    std::vector<double> values;
    values.reserve(sequence.size());
    for (const py::handle item : sequence) values.push_back(number(item.ptr()));
    return values;
}

/// The kernel's attributes in its order; "scalars", where a run's numbers begin, is 0.
std::vector<double> encoded(const OpEntry& op, const py::dict& attrs) {
    std::vector<double> values;
    values.reserve(op.attributes.size());
    for (const std::string& name : op.attributes) {
        PyObject* value = PyDict_GetItemString(attrs.ptr(), name.c_str());
        if (value == nullptr && name != "scalars")
            throw TypeError(concat(op.name, ": attribute ", name, " is missing"));
        values.push_back(value == nullptr ? 0.0 : number(value));
    }
    return values;
}

int threads_for(const TensorView* out, std::size_t count) {
    static const int available = available_threads();
    if (eager_threads > 0) return eager_threads;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) bytes += out[i].bytes();
    return std::clamp(static_cast<int>(bytes / kBytesPerThread), 1, available);
}

/// A call with everything that it points at.
struct Prepared {
    std::vector<TensorView> in;
    std::vector<TensorView> out;
    std::vector<double> attrs;
    std::vector<double> scalars;
    StepContext step;
    Call call{};
    Kernel kernel = nullptr;

    /// The views and numbers are there: the kernel that they call for, or an error.
    void check(const OpEntry& op) {
        step.scalars = scalars.data();
        step.num_scalars = static_cast<Index>(scalars.size());
        call = {in.data(),    static_cast<int>(in.size()),
                out.data(),   static_cast<int>(out.size()),
                attrs.data(), &step};
        check_call(op, call);
        kernel = select_kernel(op, call);
    }

    void run() const {
        const auto work = [&](const Team& team) {
            const FlushDenormals flush;
            kernel(call, team);
        };
        const int threads = threads_for(out.data(), out.size());
        if (threads == 1) {
            work(Team(0, 1, nullptr));
        } else {
            const py::gil_scoped_release release;
            run_team(threads, work);
        }
    }
};

void note_time(py::handle output) {
    if (is_tensor(output.ptr())) set_time(output.ptr());
}

void mark_changed(const py::list& tensors) {
    for (const py::handle item : tensors) note_time(item);
}

void overwrite(int code, const py::sequence& inputs, const py::sequence& outputs,
               const py::dict& attrs, const py::sequence& numbers) {
    const OpEntry& op = op_table().at(static_cast<std::size_t>(code));
    Prepared update;
    for (const py::handle item : inputs) update.in.push_back(view_of(item, false, op.name));
    for (const py::handle item : outputs) update.out.push_back(view_of(item, true, op.name));
    update.attrs = encoded(op, attrs);
    update.scalars = numbers_of(numbers);
    update.check(op);
    update.run();
    for (const py::handle item : outputs) note_time(item);
}

/// One op on many groups of arrays. All are checked before the first one is written to.
void overwrite_each(int code, const py::list& inputs, const py::list& outputs,
                    const py::list& attrs, const py::list& numbers) {
    const OpEntry& op = op_table().at(static_cast<std::size_t>(code));
    const std::size_t count = inputs.size();
    require(outputs.size() == count && attrs.size() == count && numbers.size() == count, op.name,
            ": as many inputs as outputs, attributes and numbers");
    std::vector<Prepared> updates(count);
    for (std::size_t i = 0; i < count; ++i) {
        Prepared& update = updates[i];
        update.in.push_back(view_of(inputs[i], false, op.name));
        const py::tuple written = outputs[i];
        update.out.reserve(written.size());
        for (const py::handle item : written) update.out.push_back(view_of(item, true, op.name));
        update.attrs = numbers_of(attrs[i]);
        update.scalars = numbers_of(numbers[i]);
        require(update.attrs.size() == op.attributes.size(), op.name, ": ", op.attributes.size(),
                " attributes, got ", update.attrs.size());
        update.check(op);
    }
    for (std::size_t i = 0; i < count; ++i) {
        updates[i].run();
        const py::tuple written = outputs[i];
        for (const py::handle item : written) note_time(item);
    }
}

}  // namespace

void bind_effects(py::module_& m) {
    m.def("mark_changed", &mark_changed, py::arg("tensors"),
          "Note that the data of Tensors were written to: graphs that used them are out of date.");
    m.def("overwrite", &overwrite, py::arg("code"), py::arg("inputs"), py::arg("outputs"),
          py::arg("attrs"), py::arg("numbers"),
          "Run an op that writes into the outputs, Tensors or arrays, and note the time.");
    m.def("overwrite_each", &overwrite_each, py::arg("code"), py::arg("inputs"), py::arg("outputs"),
          py::arg("attrs"), py::arg("numbers"),
          "Run an op that writes for each of many: an input, a tuple of outputs, the attributes in "
          "the op's order, the step's numbers. All are checked first.");
}

}  // namespace fastprop
