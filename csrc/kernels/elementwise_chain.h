#pragma once
/// @file
/// @brief Several elementwise ops in one pass over their arrays: a small program for each block.
///
/// Values in between live in registers of a block's length, in a first-level cache. Every step does
/// what the kernel of its op does, so the bits are the same as those of one op after the other.

#include "core/types.h"

namespace fastprop {

/// The values are part of the interface: Python writes them into instructions.
enum class ChainOp : int {
    add,
    sub,
    mul,
    div,
    neg,            ///< of a
    square,         ///< of a
    relu_backward,  ///< b times the derivative of the activation whose output is a
    sigmoid_backward,
    tanh_backward,
};

constexpr int kNumChainOps = static_cast<int>(ChainOp::tanh_backward) + 1;

/// Whether b is read.
constexpr bool is_binary(ChainOp op) { return op != ChainOp::neg && op != ChainOp::square; }

/// Numbers below that of the arrays name an array, those from there on a register.
struct ChainStep {
    ChainOp op;
    int a, b, y;
};

constexpr int kMaxChainSteps = 40;
/// Registers for values in between and for scalars.
constexpr int kMaxChainRegisters = 48;
constexpr int kMaxChainArrays = 96;

/// An array that the chain reads or writes, or a single number that is read for every element.
template <class T>
struct ChainArray {
    T* data;
    bool scalar;
};

/// Runs the steps on n elements of all arrays. An array that only the last step writes may be one
/// that is read.
template <class T>
void elementwise_chain(const ChainStep* steps, int num_steps, const ChainArray<T>* arrays,
                       int num_arrays, Index n);

}  // namespace fastprop
