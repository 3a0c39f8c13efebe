/// @file
/// @brief Activations, prelu and softmax as instructions.

#include "kernels/activation.h"
#include "kernels/prelu.h"
#include "kernels/softmax.h"
#include "program/operands.h"

namespace fastprop {
namespace {

// ---- activation --------------------------------------------------------------------------------

void check_activation(const Call& call) {
    activation_from_attribute(call.attr(0));
    require_dtype_of_output("activation", call);
    require_sizes_of_output("activation", call);
}

void check_with_slope(const Call& call) {
    check_activation(call);
    require(call.has_out(1) && call.out[1].size() == call.out[0].size() &&
                call.out[1].dtype == call.out[0].dtype,
            "activation_with_slope: the outputs differ in size or dtype");
}

template <class T>
void activation(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    activation_forward(static_cast<Activation>(call.index_attr(0)), static_cast<T>(call.attr(1)),
                       static_cast<T>(call.attr(2)), input<T>(call, 0) + r.begin,
                       output<T>(call) + r.begin, r.size());
}

template <class T>
void activation_and_slope(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    activation_with_slope(static_cast<Activation>(call.index_attr(0)), static_cast<T>(call.attr(1)),
                          static_cast<T>(call.attr(2)), input<T>(call, 0) + r.begin,
                          output<T>(call) + r.begin, output<T>(call, 1) + r.begin, r.size());
}

template <class T>
void activation_gradient(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    activation_backward(static_cast<Activation>(call.index_attr(0)), static_cast<T>(call.attr(1)),
                        static_cast<T>(call.attr(2)), input<T>(call, 0) + r.begin,
                        input<T>(call, 1) + r.begin, output<T>(call) + r.begin, r.size());
}

// ---- prelu -------------------------------------------------------------------------------------

/// inputs: x, slope (, dy). Channels are axis 1, as in PyTorch.
void check_slope(const Call& call) {
    const TensorView& x = call.in[0];
    const Index slopes = call.in[1].size();
    require_dtype_of_output("prelu", call);
    require(slopes == 1 || (x.rank >= 2 && slopes == x.shape[1]), "prelu: slope has ", slopes,
            " elements, wants 1 or the extent of axis 1 of x");
    if (call.num_in > 2)
        require(call.in[2].size() == x.size(), "prelu: dy has ", call.in[2].size(),
                " elements, x has ", x.size());
}

void check_prelu(const Call& call) {
    check_slope(call);
    require_size_of_output("prelu", call, 0);
    require(call.in[0].rows() == call.out[0].rows(), "prelu: x has ", call.in[0].rows(),
            " rows, the output ", call.out[0].rows());
}

void check_prelu_slope(const Call& call) {
    check_slope(call);
    require_size_of_output("prelu_backward_slope", call, 1);
    require(call.out[0].rows() == call.out[0].size(),
            "prelu_backward_slope: the output has more than one axis");
}

PreluShape prelu_shape(const Call& call, Index rows) {
    const TensorView& x = call.in[0];
    if (call.in[1].size() == 1) return {1, 1, rows * x.row_size()};
    Index inner = 1;
    for (int i = 2; i < x.rank; ++i) inner *= x.shape[i];
    return {rows, x.shape[1], inner};
}

template <class T>
void prelu(const Call& call, const Team& team) {
    const Range rows = own_rows(call, team);
    const Index begin = rows.begin * call.in[0].row_size();
    prelu_forward(input<T>(call, 0) + begin, input<T>(call, 1), output<T>(call) + begin,
                  prelu_shape(call, rows.size()));
}

template <class T>
void prelu_data_gradient(const Call& call, const Team& team) {
    const Range rows = own_rows(call, team);
    const Index begin = rows.begin * call.in[0].row_size();
    prelu_backward_data(input<T>(call, 0) + begin, input<T>(call, 1), input<T>(call, 2) + begin,
                        output<T>(call) + begin, prelu_shape(call, rows.size()));
}

template <class T>
void prelu_slope_gradient(const Call& call, const Team& team) {
    prelu_backward_slope(input<T>(call, 0), input<T>(call, 2), output<T>(call),
                         prelu_shape(call, call.in[0].rows()), own_rows(call, team));
}

// ---- softmax -----------------------------------------------------------------------------------

/// Threads share axis 0, so a row may not lie along it: a vector is given as [1, n].
void check_softmax(const Call& call) {
    const TensorView& y = call.out[0];
    require(y.rank >= 2, "softmax: the output has rank ", y.rank, ", wants at least 2");
    require_dtype_of_output("softmax", call);
    require_sizes_of_output("softmax", call);
    for (int i = 0; i < call.num_in; ++i)
        require(call.in[i].last() == y.last(), "softmax: rows of input ", i, " have ",
                call.in[i].last(), " elements, those of the output ", y.last());
}

/// Rows along the last axis in this thread's share.
Index softmax_rows(const Call& call, Range elements) {
    const Index n = call.out[0].last();
    return n == 0 ? 0 : elements.size() / n;
}

template <class T>
using RowForward = void (*)(const T*, T*, Index, Index);
template <class T>
using RowBackward = void (*)(const T*, const T*, T*, Index, Index);

template <class T, RowForward<T> forward>
void softmax(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    forward(input<T>(call, 0) + r.begin, output<T>(call) + r.begin, softmax_rows(call, r),
            call.out[0].last());
}

template <class T, RowBackward<T> backward>
void softmax_gradient(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    backward(input<T>(call, 0) + r.begin, input<T>(call, 1) + r.begin, output<T>(call) + r.begin,
             softmax_rows(call, r), call.out[0].last());
}

}  // namespace

std::vector<OpEntry> activation_ops() {
    const std::vector<std::string> kind = {"kind", "p0", "p1"};
    return {
        {"activation", kind, 1, 1, 1, activation<float>, activation<double>, check_activation},
        {"activation_backward", kind, 2, 2, 1, activation_gradient<float>,
         activation_gradient<double>, check_activation},
        {"activation_with_slope", kind, 1, 1, 2, activation_and_slope<float>,
         activation_and_slope<double>, check_with_slope},
        {"prelu", {}, 2, 2, 1, prelu<float>, prelu<double>, check_prelu},
        {"prelu_backward_data",
         {},
         3,
         3,
         1,
         prelu_data_gradient<float>,
         prelu_data_gradient<double>,
         check_prelu},
        {"prelu_backward_slope",
         {},
         3,
         3,
         1,
         prelu_slope_gradient<float>,
         prelu_slope_gradient<double>,
         check_prelu_slope},
        {"softmax",
         {},
         1,
         1,
         1,
         softmax<float, softmax_forward<float>>,
         softmax<double, softmax_forward<double>>,
         check_softmax},
        {"softmax_backward",
         {},
         2,
         2,
         1,
         softmax_gradient<float, softmax_backward<float>>,
         softmax_gradient<double, softmax_backward<double>>,
         check_softmax},
        {"log_softmax",
         {},
         1,
         1,
         1,
         softmax<float, log_softmax_forward<float>>,
         softmax<double, log_softmax_forward<double>>,
         check_softmax},
        {"log_softmax_backward",
         {},
         2,
         2,
         1,
         softmax_gradient<float, log_softmax_backward<float>>,
         softmax_gradient<double, log_softmax_backward<double>>,
         check_softmax},
    };
}

}  // namespace fastprop
