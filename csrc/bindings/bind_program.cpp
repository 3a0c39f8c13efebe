#include <pybind11/stl.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/program_run.h"
#include "bindings/tensor_slots.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// (place, index, byte offset, dtype name, shape, batched), or None for an absent operand.
Operand operand_from(const py::handle& item) {
    if (item.is_none()) return {};
    const auto fields = item.cast<py::tuple>();
    require(fields.size() == 6, "Program: an operand has 6 fields, got ", fields.size());
    Operand operand;
    operand.place = static_cast<Place>(fields[0].cast<int>());
    operand.index = fields[1].cast<int>();
    operand.offset = fields[2].cast<std::size_t>();
    const auto dtype = fields[3].cast<std::string>();
    bool known = false;
    for (const DType candidate : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8})
        if (dtype == dtype_name(candidate)) {
            operand.dtype = candidate;
            known = true;
        }
    if (!known) throw TypeError(concat("Program: unsupported dtype ", dtype));
    const auto shape = fields[4].cast<std::vector<Index>>();
    require(shape.size() <= kMaxRank, "Program: at most ", kMaxRank, " axes, got ", shape.size());
    operand.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), operand.shape);
    operand.batched = fields[5].cast<bool>();
    return operand;
}

std::vector<Operand> operands_from(const py::handle& items) {
    std::vector<Operand> operands;
    for (const py::handle item : items.cast<py::sequence>()) operands.push_back(operand_from(item));
    return operands;
}

/// (op code, inputs, outputs, attributes, barrier, when, by chunks, strip, by columns)
std::vector<Instruction> instructions_from(const py::sequence& items) {
    std::vector<Instruction> list;
    for (const py::handle item : items) {
        const auto fields = item.cast<py::tuple>();
        require(fields.size() == 9, "Program: an instruction has 9 fields, got ", fields.size());
        list.push_back({fields[0].cast<int>(), operands_from(fields[1]), operands_from(fields[2]),
                        fields[3].cast<std::vector<double>>(), fields[4].cast<bool>(),
                        fields[5].cast<int>(), fields[6].cast<bool>(), fields[7].cast<int>(),
                        fields[8].cast<bool>()});
    }
    return list;
}

std::vector<std::int64_t> first_numbers(std::size_t count) {
    std::vector<std::int64_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
    return numbers;
}

/// The first rows as the order of a run. A few numbers are there already; more are written to
/// `numbers`.
void take_first(Index count, std::vector<std::int64_t>& numbers, RunRequest& request) {
    static const std::vector<std::int64_t> few = first_numbers(1024);
    require(count >= 0, "Program.run: order is ", count);
    const bool known = count <= static_cast<Index>(few.size());
    if (!known) numbers = first_numbers(static_cast<std::size_t>(count));
    request.count = count;
    request.order = known ? few.data() : numbers.data();
}

/// The order of a run: an int64 array of rows, or how many of the first ones.
void take_order(const py::object& order, std::vector<std::int64_t>& numbers, RunRequest& request) {
    if (py::isinstance<py::int_>(order)) {
        take_first(order.cast<Index>(), numbers, request);
        return;
    }
    const TensorView view = view_of_array(order.cast<py::array>(), false, "Program.run");
    if (view.dtype != DType::i64) throw TypeError("Program.run: order must be int64");
    request.order = view.as<std::int64_t>();
    request.count = view.size();
}

/// Pairs of arrays, (from, to).
void take_copies(const py::sequence& pairs, ProgramRun& run) {
    for (const py::handle item : pairs) {
        const auto [from, to] = item.cast<std::pair<py::array, py::array>>();
        const TensorView source = view_of_array(from, false, "Program.run");
        const TensorView target = view_of_array(to, true, "Program.run");
        require(source.bytes() == target.bytes(), "Program.run: a copy of ", source.bytes(),
                " bytes into an array of ", target.bytes());
        run.request.copies.push_back({source.data, target.data, source.bytes()});
        run.alive.push_back(from);
        run.alive.push_back(to);
    }
}

struct RowOutput {
    py::dtype dtype;
    std::vector<Index> shape;  ///< the first extent is that of the run
};

/// An array for such an output of a run of so many rows.
py::object new_rows(const RowOutput& output, Index rows) {
    const auto& numpy = py::detail::npy_api::get();
    Py_intptr_t shape[kMaxRank] = {};
    std::copy(output.shape.begin(), output.shape.end(), shape);
    shape[0] = rows;
    Py_INCREF(output.dtype.ptr());  // the call takes a reference
    return owned(numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, output.dtype.ptr(),
                                             static_cast<int>(output.shape.size()), shape, nullptr,
                                             nullptr, 0, nullptr));
}

/// Asks whether the user has pressed Ctrl-C, and keeps what a signal handler has raised.
std::function<bool()> watch_signals(py::object& error) {
    return [&error] {
        const py::gil_scoped_acquire acquire;
        if (PyErr_CheckSignals() == 0) return false;
        py::error_already_set raised;
        error = raised.value();
        return true;
    };
}

/// A Program without its memory: from it Programs on other arrays of the same sizes are made.
struct Template {
    Program::Parts parts;  ///< whose buffers lie nowhere
    std::vector<RowOutput> rows;
};

/// Whether no byte is in two of the buffers.
bool apart(std::vector<Buffer> buffers) {
    const auto empty = [](const Buffer& b) { return b.bytes == 0; };
    buffers.erase(std::remove_if(buffers.begin(), buffers.end(), empty), buffers.end());
    const std::less<> before;
    std::sort(buffers.begin(), buffers.end(),
              [&](const Buffer& a, const Buffer& b) { return before(a.data, b.data); });
    const auto overlap = [&](const Buffer& a, const Buffer& b) {
        return before(b.data, static_cast<char*>(a.data) + a.bytes);
    };
    return std::adjacent_find(buffers.begin(), buffers.end(), overlap) == buffers.end();
}

}  // namespace

/// A Program and the arrays that its buffers are views of.
class BoundProgram {
public:
    BoundProgram(std::size_t arena_bytes, Index capacity, std::vector<py::array> buffers,
                 const py::sequence& prologue, const py::sequence& step,
                 const py::sequence& scalars, const py::sequence& rows, Index guard, Index chunks,
                 std::size_t scratch_bytes)
        : buffers_(std::move(buffers)) {
        Program::Parts parts;
        parts.arena_bytes = arena_bytes;
        parts.capacity = capacity;
        for (const py::array& array : buffers_) {
            const TensorView view = view_of_array(array, false, "Program");
            parts.buffers.push_back({view.data, view.bytes()});
        }
        parts.prologue = instructions_from(prologue);
        parts.step = instructions_from(step);
        parts.scalars = operands_from(scalars);
        parts.rows = operands_from(rows);
        parts.guard = guard;
        parts.chunks = chunks;
        parts.scratch_bytes = scratch_bytes;
        num_scalars_ = static_cast<Index>(parts.scalars.size());
        for (const Operand& row : parts.rows)
            rows_.push_back({py::dtype(dtype_name(row.dtype)), {row.shape, row.shape + row.rank}});
        program_ = std::make_unique<Program>(std::move(parts));
    }

    BoundProgram(Program::Parts parts, std::vector<RowOutput> rows, std::vector<py::array> buffers)
        : buffers_(std::move(buffers)),
          rows_(std::move(rows)),
          num_scalars_(static_cast<Index>(parts.scalars.size())) {
        program_ = std::make_unique<Program>(std::move(parts));
    }

    /// The Program of a template on other arrays of the same sizes; nothing if two share memory.
    static std::unique_ptr<BoundProgram> of(const Template& planned,
                                            std::vector<py::array> buffers) {
        Program::Parts parts = planned.parts;
        require(buffers.size() == parts.buffers.size(), "Template.program: expects ",
                parts.buffers.size(), " buffers, got ", buffers.size());
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const TensorView view = view_of_array(buffers[i], false, "Template.program");
            require(view.bytes() == parts.buffers[i].bytes, "Template.program: buffer ", i, " has ",
                    view.bytes(), " bytes, expected ", parts.buffers[i].bytes);
            parts.buffers[i].data = view.data;
        }
        if (!apart(parts.buffers)) return nullptr;
        return std::make_unique<BoundProgram>(std::move(parts), planned.rows, std::move(buffers));
    }

    /// What makes Programs like this one; nothing if two of its buffers share memory.
    std::optional<Template> as_template() const {
        Template made{program_->parts(), rows_};
        if (!apart(made.parts.buffers)) return std::nullopt;
        for (Buffer& buffer : made.parts.buffers) buffer.data = nullptr;
        return made;
    }

    /// Fills in everything but the threads and who is asked about interrupts.
    void prepare(const RunArguments& arguments, ProgramRun& run) {
        RunRequest& request = run.request;
        request.sources.reserve(arguments.sources.size());
        for (const py::handle source : arguments.sources) {
            const auto array = source.cast<py::array>();
            const bool written = program_->is_written(request.sources.size());
            request.sources.push_back(view_of_array(array, written, "Program.run"));
            run.alive.push_back(array);
        }
        take_order(arguments.order, run.numbers, request);
        run.alive.push_back(arguments.order);
        request.batch_size = arguments.batch_size;
        request.epoch_rows = arguments.epoch_rows;
        request.first_step = arguments.first_step;
        request.seed = arguments.seed;
        const Index steps = request.batch_size > 0 ? request.steps() : 0;
        if (arguments.scalars) {
            const TensorView view = view_of_array(*arguments.scalars, false, "Program.run");
            require(view.dtype == DType::f64 && view.rank == 2 && view.rows() == steps,
                    "Program.run: step scalars must be float64 with ", steps, " rows");
            request.scalars = view.as<double>();
            request.scalars_per_step = view.last();
            run.alive.push_back(*arguments.scalars);
        }
        if (arguments.copies) take_copies(*arguments.copies, run);
        for (const RowOutput& row : rows_) {
            const py::object array = new_rows(row, request.count);
            request.results.push_back(py::detail::array_proxy(array.ptr())->data);
            run.results.append(array);
        }
        run.values = py::array_t<double>({steps, num_scalars_});
        request.values = run.values.mutable_data();
        run.program = program_.get();
    }

    ProgramRun::Outcome run(const py::sequence& sources, const py::object& order, Index batch_size,
                            const std::optional<py::array>& scalars, std::int64_t first_step,
                            std::uint64_t seed, int threads,
                            const std::optional<py::array>& profile, Index epoch_rows,
                            const std::optional<py::sequence>& copies) {
        ProgramRun run;
        prepare({sources, order, batch_size, scalars, first_step, seed, epoch_rows, copies}, run);
        run.request.threads = threads;
        if (profile) {
            const TensorView view = view_of_array(*profile, true, "Program.run");
            const auto entries = static_cast<Index>(program_->profile_entries());
            require(view.dtype == DType::f64 && view.rank == 3 && view.shape[0] >= threads &&
                        view.shape[1] == entries && view.shape[2] == 2,
                    "Program.run: profile must be float64 of shape (", threads, ", ", entries,
                    ", 2)");
            run.request.profile = view.as<double>();
        }
        py::object error = py::none();
        run.request.interrupted = watch_signals(error);
        const RunResult result = execute(run.request);
        return run.outcome(result, std::move(error));
    }

    void run_single_step(Index rows, SingleStep& step) {
        RunRequest& request = step.request;
        std::vector<std::int64_t> numbers;
        take_first(rows, numbers, request);
        request.batch_size = rows;
        step.rows.reserve(rows_.size());
        for (const RowOutput& row : rows_) {
            step.rows.push_back(new_rows(row, rows));
            request.results.push_back(py::detail::array_proxy(step.rows.back().ptr())->data);
        }
        step.values.resize(static_cast<std::size_t>(num_scalars_));
        request.values = step.values.data();
        request.interrupted = watch_signals(step.error);
        step.result = execute(request);
        if (step.result.error != nullptr) step.error = raised(step.result);
    }

    std::tuple<Index, Index> latest() const { return {program_->runs(), program_->latest_steps()}; }

private:
    RunResult execute(const RunRequest& request) {
        RunResult result;
        {
            const py::gil_scoped_release release;
            result = program_->run(request);
        }
        // A signal that nobody has asked about yet would be raised in the place of the result.
        if (result.stop == Stop::done && request.interrupted()) result.stop = Stop::interrupt;
        return result;
    }

    std::vector<py::array> buffers_;
    std::unique_ptr<Program> program_;
    std::vector<RowOutput> rows_;
    Index num_scalars_ = 0;
};

void SingleStep::raise_interrupt() const {
    if (error.is_none()) {
        PyErr_SetNone(PyExc_KeyboardInterrupt);
    } else {
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
    }
    throw py::error_already_set();
}

BoundProgram& bound_program(const py::handle& program) { return program.cast<BoundProgram&>(); }

void run_single_step(BoundProgram& program, Index rows, SingleStep& step) {
    program.run_single_step(rows, step);
}

void prepare_run(const py::object& program, const RunArguments& arguments, ProgramRun& run) {
    program.cast<BoundProgram&>().prepare(arguments, run);
    run.alive.push_back(program);
}

void bind_program(py::module_& m) {
    py::class_<Template> planned(m, "Template", "A Program without its memory.");
    py::class_<BoundProgram>(m, "Program",
                             "A flat list of instructions over one arena; see fastprop.graph.")
        .def(py::init<std::size_t, Index, std::vector<py::array>, const py::sequence&,
                      const py::sequence&, const py::sequence&, const py::sequence&, Index, Index,
                      std::size_t>(),
             py::arg("arena_bytes"), py::arg("capacity"), py::arg("buffers"), py::arg("prologue"),
             py::arg("step"), py::arg("scalars"), py::arg("rows"), py::arg("guard"),
             py::arg("chunks") = 0, py::arg("scratch_bytes") = 0)
        .def(
            "run", &BoundProgram::run, py::arg("sources"), py::arg("order"), py::arg("batch_size"),
            py::arg("step_scalars"), py::arg("first_step"), py::arg("seed"), py::arg("threads"),
            py::arg("profile") = py::none(), py::arg("epoch_rows") = 0,
            py::arg("copies") = py::none(),
            "Run whole steps with the GIL released; a batch ends with every `epoch_rows` rows, if "
            "that is not 0. Once the loss of the first step is known and finite, `copies`, pairs "
            "(from, to), are made. Returns the recorded outputs [steps, n], the "
            "per-row outputs [rows, ...], the number of complete steps, how it stopped (0 done, 1 "
            "non-finite, 2 interrupted), the exception of an interrupt, and the seconds that the "
            "copies took, negative if they were not made. To `profile` [threads, instructions + 2, "
            "2] it adds nanoseconds.")
        .def("template", &BoundProgram::as_template,
             "What makes Programs like this one on other arrays, without its memory; None if two "
             "of its buffers share theirs.")
        .def("latest", &BoundProgram::latest,
             "How many runs have come to an end, and the complete steps of the latest one.");
    planned.def("program", &BoundProgram::of, py::arg("buffers"),
                "The Program on buffers of the sizes of the first ones; None if two of them share "
                "memory.");
}

}  // namespace fastprop
