#pragma once
/// @file
/// @brief A Program whose results are Tensors: what compiled functions and their derivatives run.

#include <pybind11/numpy.h>

#include <cstdint>
#include <vector>

#include "bindings/collected.h"
#include "bindings/program_run.h"

namespace fastprop {

/// Numbers of the optimizers' steps that a run takes.
struct StepRow {
    const double* numbers = nullptr;
    Index width = 0;
};

/// See tracing/executable.py.
class Executable {
public:
    using Arrays = std::vector<pybind11::object>;

    /// `specs`: of recorded numbers, then of rows, then of arrays, of which a run takes `given`.
    /// `wanted`, `saved`: which of them.
    Executable(const pybind11::object& program, const pybind11::object& chooser,
               const std::vector<pybind11::object>& specs, std::size_t numbers, std::size_t rows,
               std::size_t given, std::vector<std::size_t> wanted, std::vector<std::size_t> saved,
               const std::vector<pybind11::object>& changed);

    /// The arrays of all outputs. `sources`: arrays, which the caller keeps.
    Arrays run(const std::vector<PyObject*>& sources, Index rows, StepRow numbers,
               std::int64_t number, std::uint64_t seed);

    /// The outputs that are wanted, as Tensors.
    std::vector<pybind11::object> tensors(const Arrays& found, Index rows);

    /// The outputs that are saved.
    pybind11::tuple saved(const Arrays& found) const;

    Kept kept;

private:
    struct Threads {
        int count;
        bool compared;  ///< with another number: how long the run takes is of interest
    };

    Threads choose_threads() const;
    void learn(int threads, Index steps, double seconds) const;
    PyObject* spec_of(std::size_t output, Index rows);

    PyObject* program_;
    PyObject* chooser_;
    BoundProgram& bound_;
    Index least_rows_;
    Index step_numbers_;
    std::vector<PyObject*> specs_;
    std::size_t numbers_, rows_, given_;
    std::vector<std::size_t> wanted_, saved_;
    std::vector<PyObject*> changed_;
    Index latest_rows_ = -1;
    std::vector<pybind11::object> row_specs_;  ///< of the outputs by rows, with that many
};

}  // namespace fastprop
