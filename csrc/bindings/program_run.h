#pragma once
/// @file
/// @brief A run of a Program with the Python objects that it reads and writes.

#include <pybind11/numpy.h>

#include <cstdint>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "program/program.h"

namespace fastprop {

/// What a function of the host has raised in a run.
inline pybind11::object raised(const RunResult& result) {
    try {
        std::rethrow_exception(result.error);
    } catch (const pybind11::error_already_set& error) {
        return error.value();
    }
}

/// Arguments of `_core.Program.run`, as Python gives them.
struct RunArguments {
    pybind11::sequence sources;
    pybind11::object order;
    Index batch_size;
    std::optional<pybind11::array> scalars;
    std::int64_t first_step;
    std::uint64_t seed;
    Index epoch_rows;
    std::optional<pybind11::sequence> copies;  ///< (from, to): arrays of equal size
};

/// A checked request and what keeps its pointers alive. Made, and destroyed, with the GIL held.
struct ProgramRun {
    using Outcome =
        std::tuple<pybind11::array_t<double>, pybind11::list, Index, int, pybind11::object, double>;

    Program* program = nullptr;
    RunRequest request;
    std::vector<std::int64_t> numbers;  ///< row numbers that C++ wrote itself
    pybind11::array_t<double> values;
    pybind11::list results;
    std::vector<pybind11::object> alive;

    /// What `_core.Program.run` returns: recorded outputs, per-row outputs, complete steps, how it
    /// stopped, the exception of an interrupt or None, and the seconds that the copies took.
    Outcome outcome(const RunResult& result, pybind11::object error) const {
        if (result.error != nullptr) error = raised(result);
        return {values,           results,
                result.steps,     static_cast<int>(result.stop),
                std::move(error), result.copy_seconds};
    }
};

/// A run of one step on rows 0, 1, … of its sources, for callers that count microseconds: they keep
/// the sources alive, and no array is made but those of the outputs.
struct SingleStep {
    RunRequest request;  ///< sources, scalars, first_step, seed and threads are the caller's to say
    std::vector<pybind11::object> rows;  ///< the per-row outputs
    std::vector<double> values;          ///< the recorded outputs
    RunResult result;
    pybind11::object error = pybind11::none();  ///< the exception of an interrupt

    /// Raises what has interrupted the run.
    void raise_interrupt() const;
};

/// The C++ Program behind a `_core.Program`, which has to be kept.
class BoundProgram;
BoundProgram& bound_program(const pybind11::handle& program);

/// Runs a step of so many rows with the GIL released. Throws Error if something does not fit.
void run_single_step(BoundProgram& program, Index rows, SingleStep& step);

/// Throws Error or TypeError if an argument does not fit. `program` is a `_core.Program`.
void prepare_run(const pybind11::object& program, const RunArguments& arguments, ProgramRun& run);

}  // namespace fastprop
