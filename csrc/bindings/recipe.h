#pragma once
/// @file
/// @brief Recipes: what a rule or a function of ops does to operands of certain shapes, as a list
/// of kernels that runs without Python.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "core/tensor_view.h"
#include "program/op.h"

namespace fastprop {

/// Inputs of a node that has a recipe; which of them a derivative is wanted by is a mask.
constexpr Py_ssize_t kMaxRecipeInputs = 8;

/// A list of kernels over numbered values: operands first, then constants and results in the order
/// of their computation. Python traces it (graph/recipe.py); the numbers are those of the ops that
/// it was traced from. Values in between take no Tensor, no array and no memory of their own.
class Recipe {
public:
    /// A value that is computed or constant.
    struct Value {
        const OpEntry* entry = nullptr;  ///< null: a part of another value's memory, or a constant
        std::vector<int> operands;
        std::vector<double> attributes;  ///< of the op; where a part begins, in bytes
        pybind11::object spec;
        pybind11::object constant;  ///< a Tensor
        bool kept = false;          ///< a derivative will need it
    };

    /// What there is to read: operands that are Tensors, and where all of them lie.
    struct Operand {
        PyObject* tensor = nullptr;  ///< null: a kept value, which only kernels may read
        void* data = nullptr;
    };

    Recipe(const std::vector<TensorView>& operands, std::vector<Value> values,
           std::vector<int> outputs);

    /// Runs it. `kept` is the memory for `kept_bytes()`.
    void run(const Operand* operands, std::byte* kept, pybind11::object* results);

    std::size_t outputs() const { return outputs_.size(); }
    std::size_t kept_bytes() const { return kept_bytes_; }
    /// Where a kept value lies: in the memory of those, or -1: it is the first output.
    std::ptrdiff_t kept_offset(int value) const;

private:
    struct Step {
        const OpEntry* entry;
        Kernel kernel;
        std::vector<TensorView> in;
        std::vector<int> operands;
        TensorView out;
        int result;
        bool checked_every_time;  ///< an index says where to read
        std::vector<double> attributes;
    };
    /// Where a value lies.
    enum class Place { given, constant, result, kept, scratch };
    struct Home {
        Place place;
        std::size_t at;  ///< operand, output or byte
    };

    void place_values(const std::vector<TensorView>& forms);
    void place_part(std::size_t part, const Value& value, const std::vector<TensorView>& forms);
    void make_steps(const std::vector<TensorView>& forms);
    void set_data(const Operand* operands, std::byte* kept,
                  const std::vector<pybind11::array>& arrays);
    pybind11::object result(std::size_t output, const Operand* operands,
                            const std::vector<pybind11::array>& arrays) const;

    std::size_t operand_count_;
    std::vector<Value> values_;
    std::vector<int> outputs_;
    std::vector<int> roots_;            ///< of every value, the one whose memory it is
    std::vector<std::size_t> offsets_;  ///< and where in it, in bytes
    std::vector<Home> homes_;
    std::vector<Step> steps_;
    std::vector<void*> data_;
    std::size_t kept_bytes_ = 0;
    std::size_t scratch_bytes_ = 0;
};

/// The form of a value with a Spec; it has no data.
TensorView form_of(PyObject* spec);

/// The derivatives of a node by some of its inputs, as a recipe over dy, y, its inputs, and what
/// was kept.
class Derivation {
public:
    /// A term of the derivative by an input: an output of the recipe, or -1 for zero.
    struct Term {
        Py_ssize_t input;
        int output;
    };

    Derivation(Recipe recipe, std::vector<Term> terms, std::vector<std::ptrdiff_t> kept)
        : recipe_(std::move(recipe)), terms_(std::move(terms)), kept_(std::move(kept)) {}

    /// Calls add(position, term) for every term, in the order in which a walk adds them.
    template <class Add>
    void run(PyObject* node, PyObject* dy, const Add& add) {
        std::vector<pybind11::object> found = results(node, dy);
        for (const Term& term : terms_)
            add(term.input, term.output < 0 ? pybind11::object(pybind11::none())
                                            : found[static_cast<std::size_t>(term.output)]);
    }

private:
    std::vector<pybind11::object> results(PyObject* node, PyObject* dy);

    Recipe recipe_;
    std::vector<Term> terms_;
    std::vector<std::ptrdiff_t> kept_;
};

/// How a node is differentiated without its rules, a Derivation or None. `wanted`: bits of the
/// inputs.
pybind11::object find_derivation(PyObject* node, PyObject* dy, unsigned wanted);

}  // namespace fastprop
