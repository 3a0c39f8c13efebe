/// @file
/// @brief Chains of elementwise ops that the planner made one instruction of.

#include "program/ops_chain.h"
#include "kernels/elementwise_chain.h"
#include "program/operands.h"

namespace fastprop {
namespace {

constexpr int kMaxInputs = 64;
constexpr int kMaxOutputs = 32;
static_assert(kMaxInputs + kMaxOutputs <= kMaxChainArrays);

/// Attributes: the number of steps, then (op, a, b, y) of each, zeros behind them. Operands are
/// numbered: inputs, then outputs, then values that only the chain itself sees.
struct Chain {
    ChainStep steps[kMaxChainSteps];
    int size;
};

int integer_attr(const Call& call, int i, int limit) {
    const double value = call.attr(i);
    // Compared as a double first: converting a huge number or NaN to int would be undefined.
    require(value >= 0 && value < limit, "elementwise_chain: attribute ", i, " is ", value,
            ", wants an integer below ", limit);
    require(static_cast<int>(value) == value, "elementwise_chain: attribute ", i, " is ", value);
    return static_cast<int>(value);
}

int number_attr(const Call& call, int i) { return static_cast<int>(call.attr(i)); }

Chain chain_of(const Call& call) {
    Chain chain;
    chain.size = number_attr(call, 0);
    for (int s = 0; s < chain.size; ++s) {
        const int at = 1 + 4 * s;
        chain.steps[s] = {static_cast<ChainOp>(number_attr(call, at)), number_attr(call, at + 1),
                          number_attr(call, at + 2), number_attr(call, at + 3)};
    }
    return chain;
}

/// A number is read for every element; an array has as many as the output.
bool is_scalar(const Call& call, int i) {
    return call.in[i].size() == 1 && call.out[0].size() != 1;
}

void check_operands(const Call& call) {
    require_dtype_of_output("elementwise_chain", call);
    for (int i = 0; i < call.num_in; ++i)
        if (call.in[i].size() != 1) require_size_of_output("elementwise_chain", call, i);
    for (int i = 0; i < call.num_out; ++i)
        require(
            call.out[i].size() == call.out[0].size() && call.out[i].rows() == call.out[0].rows(),
            "elementwise_chain: output ", i, " differs in shape from output 0");
}

void check_chain(const Call& call) {
    check_operands(call);
    const int steps = integer_attr(call, 0, kMaxChainSteps + 1);
    const int arrays = call.num_in + call.num_out;
    int scalars = 0;
    bool known[kMaxChainArrays + kMaxChainRegisters] = {};
    for (int i = 0; i < call.num_in; ++i) {
        known[i] = true;
        scalars += call.in[i].size() == 1;
    }
    require(scalars < kMaxChainRegisters, "elementwise_chain: too many scalars, ", scalars);
    const int places = arrays + kMaxChainRegisters - scalars;
    for (int at = 1; at < 1 + 4 * steps; at += 4) {
        const auto op = static_cast<ChainOp>(integer_attr(call, at, kNumChainOps));
        const int a = integer_attr(call, at + 1, places), b = integer_attr(call, at + 2, places);
        const int y = integer_attr(call, at + 3, places);
        require(known[a] && (!is_binary(op) || known[b]), "elementwise_chain: a step reads ",
                known[a] ? b : a, ", which nothing has written");
        require(y >= call.num_in, "elementwise_chain: a step writes input ", y);
        known[y] = true;
    }
    for (int i = call.num_in; i < arrays; ++i)
        require(known[i], "elementwise_chain: nothing writes output ", i - call.num_in);
}

template <class T>
void run_chain(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    const Chain chain = chain_of(call);
    ChainArray<T> arrays[kMaxChainArrays];
    for (int i = 0; i < call.num_in; ++i) {
        const bool scalar = is_scalar(call, i);
        arrays[i] = {call.in[i].as<T>() + (scalar ? 0 : r.begin), scalar};
    }
    for (int i = 0; i < call.num_out; ++i)
        arrays[call.num_in + i] = {output<T>(call, i) + r.begin, false};
    elementwise_chain(chain.steps, chain.size, arrays, call.num_in + call.num_out, r.size());
}

}  // namespace

std::vector<OpEntry> chain_ops() {
    std::vector<std::string> attributes = {"steps"};
    for (int s = 0; s < kMaxChainSteps; ++s)
        for (const char* name : {"op", "a", "b", "y"}) attributes.push_back(concat(name, s));
    return {{"elementwise_chain", attributes, 1, kMaxInputs, kMaxOutputs, run_chain<float>,
             run_chain<double>, check_chain}};
}

}  // namespace fastprop
