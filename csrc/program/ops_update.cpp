/// @file
/// @brief Optimizer updates in the op table. They work in place: the outputs are the weight and its
/// state, read and written. Attribute `scalars` is the place of the op's first number in
/// StepContext::scalars, which holds what changes from step to step.

#include "kernels/update.h"

#include "program/op.h"

namespace fastprop {
namespace {

/// The elements of this thread's rows of the weight.
Range elements_of(const TensorView& weight, const Team& team) {
    const Range rows = team.slice(weight.rows());
    const Index row_size = weight.row_size();
    return {rows.begin * row_size, rows.end * row_size};
}

const double* step_scalars(const Call& call) { return call.step->scalars + call.index_attr(0); }

template <class T>
T* state(const Call& call, int i, Range part) {
    return call.has_out(i) ? call.out[i].as<T>() + part.begin : nullptr;
}

/// sgd_update(g) -> w[, buf]; scalars: learning rate, gradient factor.
template <class T>
void sgd_kernel(const Call& call, const Team& team) {
    const Range part = elements_of(call.out[0], team);
    if (part.empty()) return;
    const double* scalars = step_scalars(call);
    SgdOptions options;
    options.momentum = call.attr(1);
    options.nesterov = call.attr(2) != 0.0;
    options.weight_decay = call.attr(3);
    sgd_update(call.in[0].as<T>() + part.begin, state<T>(call, 0, part), state<T>(call, 1, part),
               part.size(), scalars[0], scalars[1], options);
}

/// adam_update(g) -> w, m, v; scalars: learning rate, learning rate / (1 - beta1^t),
/// 1 / sqrt(1 - beta2^t).
template <class T, bool decoupled>
void adam_kernel(const Call& call, const Team& team) {
    const Range part = elements_of(call.out[0], team);
    if (part.empty()) return;
    const double* scalars = step_scalars(call);
    AdamOptions options;
    options.beta1 = call.attr(1);
    options.beta2 = call.attr(2);
    options.eps = call.attr(3);
    options.weight_decay = call.attr(4);
    options.decoupled = decoupled;
    adam_update(call.in[0].as<T>() + part.begin, state<T>(call, 0, part), state<T>(call, 1, part),
                state<T>(call, 2, part), part.size(), {scalars[0], scalars[1], scalars[2]},
                options);
}

void check_update(const Call& call, Index scalars) {
    const TensorView& weight = call.out[0];
    require(call.in[0].dtype == weight.dtype && call.in[0].size() == weight.size(),
            "update: the gradient has ", call.in[0].size(), " ", dtype_name(call.in[0].dtype),
            ", the weight ", weight.size(), " ", dtype_name(weight.dtype));
    for (int i = 1; i < call.num_out; ++i)
        require(!call.out[i].present() || call.out[i].size() == weight.size(), "update: state ", i,
                " has ", call.out[i].size(), " elements, the weight ", weight.size());
    // A Program brings the numbers of its steps later; they are not there yet when it is built.
    const Index first = call.index_attr(0);
    require(first >= 0, "update: attribute scalars is negative");
    require(call.step == nullptr || first + scalars <= call.step->num_scalars, "update: wants ",
            scalars, " of the step's scalars from ", first, " on, got ",
            call.step == nullptr ? 0 : call.step->num_scalars);
}

void check_sgd(const Call& call) {
    check_update(call, 2);
    require(call.attr(1) == 0.0 || call.out[0].size() == 0 || call.has_out(1),
            "sgd_update: momentum needs its buffer");
}

void check_adam(const Call& call) {
    check_update(call, 3);
    require(call.out[0].size() == 0 || (call.has_out(1) && call.has_out(2)),
            "adam_update: the moments m and v are missing");
}

}  // namespace

std::vector<OpEntry> update_ops() {
    const std::vector<std::string> adam = {"scalars", "beta1", "beta2", "eps", "weight_decay"};
    return {
        {"sgd_update",
         {"scalars", "momentum", "nesterov", "weight_decay"},
         1,
         1,
         2,
         sgd_kernel<float>,
         sgd_kernel<double>,
         check_sgd},
        {"adam_update", adam, 1, 1, 3, adam_kernel<float, false>, adam_kernel<double, false>,
         check_adam},
        {"adamw_update", adam, 1, 1, 3, adam_kernel<float, true>, adam_kernel<double, true>,
         check_adam},
    };
}

}  // namespace fastprop
