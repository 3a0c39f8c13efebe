#pragma once
/// @file
/// @brief What a call of a compiled function does besides running its Program.

#include <pybind11/pybind11.h>

#include <optional>
#include <set>
#include <vector>

#include "bindings/executable.h"
#include "bindings/watched_places.h"

namespace fastprop {

/// Fields of Python's NamedTuple `Call`.
enum CallField { call_leaves, call_arrays, call_rows, call_seed, call_number };

/// What Python hands over once.
struct CompiledBound {
    PyTypeObject* call_type = nullptr;
    PyObject* suppressed = nullptr;   ///< context variable: whether effects are left out
    PyObject* changes = nullptr;      ///< `latest` counts changes of models
    PyObject* next_stream = nullptr;  ///< () -> (seed, number) of the default generator
};
inline CompiledBound compiled;

/// A Call of Python's, as far as C++ reads it.
struct CallView {
    PyObject* leaves;  ///< a tuple
    PyObject* arrays;  ///< a tuple
    Index rows;
    std::uint64_t seed;
    std::int64_t number;
};

CallView view_of_call(PyObject* call);

/// Wanted of a run, or an object that is there already.
struct Outcome {
    std::ptrdiff_t position = -1;
    PyObject* known = nullptr;

    /// From an integer, or the object itself.
    static Outcome of(const pybind11::handle& item, Kept& kept);
    PyObject* in(const std::vector<pybind11::object>& values) const {
        return position < 0 ? known : values[static_cast<std::size_t>(position)].ptr();
    }
};

/// How results remember the call that they came from; see tracing/history.py.
class Connection {
public:
    Connection(const pybind11::object& op, const pybind11::object& refusal,
               const pybind11::object& result_op, const pybind11::object& no_history,
               std::vector<std::size_t> results, std::vector<std::size_t> freed,
               std::vector<std::size_t> late, const pybind11::list& sources);

    /// `values`: what is wanted of a run. `call`, `saved`: objects that derivatives are given.
    void connect(const std::vector<pybind11::object>& values, PyObject* call,
                 PyObject* saved) const;

    Kept kept;

private:
    PyObject* op_;
    PyObject* refusal_;
    PyObject* result_op_;
    PyObject* no_history_;
    std::vector<std::size_t> results_, freed_, late_;
    std::vector<Outcome> sources_;  ///< positions of leaves, or Tensors from outside
};

/// See tracing/variant.py.
class TracedCall {
public:
    TracedCall(const pybind11::object& executable, const pybind11::object& connection,
               const pybind11::list& numbers, const pybind11::list& gradients,
               const pybind11::list& leaf_gradients, const pybind11::object& results,
               const pybind11::object& put_together, const pybind11::object& gradient_error,
               bool draws);

    /// What has to be the same in a call; `watched`: what else, WatchedPlaces.
    void look(const pybind11::list& modules, const pybind11::list& settings,
              const pybind11::object& watched);
    void add_size(Index rows) { sizes_.insert(rows); }
    bool serves(Index rows) const;

    pybind11::object run(const pybind11::tuple& leaves, const pybind11::tuple& arrays, Index rows,
                         std::uint64_t seed, std::int64_t number);

    /// Whether it needs random numbers.
    bool draws() const { return draws_; }

    bool valid = true;  ///< the calls of another one keep what derivatives need
    Kept kept;

private:
    struct Gradient {
        PyObject* tensor;
        bool cleared;
        bool used;
        std::optional<Outcome> left;
    };
    struct Source {
        PyObject* source;
        int steps;  ///< of it in a call
    };

    void check_gradients() const;
    std::vector<double> next_numbers() const;
    void count_steps() const;
    void settle_gradients(const std::vector<pybind11::object>& values) const;

    PyObject* executable_object_;
    Executable& executable_;
    const Connection* connection_ = nullptr;
    std::vector<PyObject*> numbers_;  ///< in the order of a row
    std::vector<Source> sources_;     ///< the same, each once
    std::vector<Gradient> gradients_;
    std::vector<std::pair<Py_ssize_t, Outcome>> leaf_gradients_;
    bool single_;
    std::vector<Outcome> results_;
    PyObject* put_together_;
    PyObject* gradient_error_;
    bool draws_;

    long long changes_ = -1;
    PyObject* modes_ = nullptr;     ///< (module, mode)
    PyObject* settings_ = nullptr;  ///< (optimizer, attributes, slots)
    const WatchedPlaces* watched_ = nullptr;
    std::set<Index> sizes_;
};

/// The derivatives of a call by what its results came from, as a run of a Program.
class TracedDerivative {
public:
    TracedDerivative(const pybind11::object& executable, const pybind11::object& connection,
                     const pybind11::list& reads, const pybind11::list& dtypes,
                     const pybind11::list& gradients, bool resumes,
                     const pybind11::object& changed_error, const pybind11::object& dtype_error);

    /// A list, of derivatives or what stands for zero. `given`: derivatives by the results of the
    /// call that made `y`.
    pybind11::list run(PyObject* y, PyObject* call, PyObject* saved,
                       const std::vector<PyObject*>& given);

    bool resumes() const { return resumes_; }

    Kept kept;

private:
    void check(PyObject* y, PyObject* leaves, const std::vector<PyObject*>& given) const;

    Executable& executable_;
    const Connection* connection_ = nullptr;
    std::vector<PyObject*> reads_;
    std::vector<PyObject*> dtypes_;
    std::vector<Outcome> gradients_;
    bool resumes_;
    PyObject* changed_error_;
    PyObject* dtype_error_;
};

/// A Call of Python's.
pybind11::object new_call(PyObject* leaves, PyObject* arrays, Index rows, std::uint64_t seed,
                          std::int64_t number);

}  // namespace fastprop
