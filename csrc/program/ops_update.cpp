/// @file
/// @brief Optimizer updates in the op table. They work in place: the outputs are the weight and its
/// state, read and written. In place of its gradient g most take x and dz of the dense layer that
/// it is the weight of (gradient_tiles.h). Attribute `scalars` is the place of the op's first
/// number in StepContext::scalars, which holds what changes from step to step.

#include "kernels/update_adam.h"
#include "kernels/update_adaptive.h"
#include "kernels/update_average.h"
#include "kernels/update_lamb.h"
#include "kernels/update_sgd.h"
#include "kernels/update_sign.h"

#include "program/gradient_tiles.h"
#include "program/operands.h"

namespace fastprop {
namespace {

/// What a thread updates: its elements of all operands, and the step's numbers.
template <class T>
class Part {
public:
    Part(const Call& call, const Team& team) : Part(call, own_elements(call, team), nullptr) {}
    /// The same of a range of elements, whose gradient lies elsewhere than in input 0.
    Part(const Call& call, Range range, const T* gradient)
        : call_(call),
          range_(range),
          gradient_(gradient),
          scalars_(call.step->scalars + call.index_attr(0)) {}

    bool empty() const { return range_.empty(); }
    Index size() const { return range_.size(); }
    double scalar(int i) const { return scalars_[i]; }
    const T* in(int i) const {
        return gradient_ != nullptr ? gradient_ : input<T>(call_, i) + range_.begin;
    }
    /// nullptr if it is not given.
    T* out(int i) const { return call_.has_out(i) ? output<T>(call_, i) + range_.begin : nullptr; }

private:
    const Call& call_;
    Range range_;
    const T* gradient_;
    const double* scalars_;
};

/// The kernel that calls f(part, call) on each thread's part.
template <class T, void (*f)(const Part<T>&, const Call&)>
void on_part(const Call& call, const Team& team) {
    const Part<T> part(call, team);
    if (!part.empty()) f(part, call);
}

/// The same where the gradient may be that of a dense layer's weights, given as x and dz.
template <class T, void (*f)(const Part<T>&, const Call&)>
void on_gradient(const Call& call, const Team& team) {
    if (!call.has(1)) return on_part<T, f>(call, team);
    const Index columns = call.out[0].row_size();
    for_gradient_tiles<T>(
        call.in[0], call.in[1], own_rows(call, team), [&](Range tile, const T* gradient) {
            f(Part<T>(call, {tile.begin * columns, tile.end * columns}, gradient), call);
        });
}

/// sgd_update(g) -> w[, buf]; scalars: learning rate, gradient factor.
template <class T>
void sgd(const Part<T>& part, const Call& call) {
    SgdOptions options;
    options.momentum = call.attr(1);
    options.nesterov = call.attr(2) != 0.0;
    options.weight_decay = call.attr(3);
    sgd_update(part.in(0), part.out(0), part.out(1), part.size(), part.scalar(0), part.scalar(1),
               options);
}

AdamOptions adam_options(const Call& call, bool decoupled) {
    AdamOptions options;
    options.beta1 = call.attr(1);
    options.beta2 = call.attr(2);
    options.eps = call.attr(3);
    options.weight_decay = call.attr(4);
    options.decoupled = decoupled;
    return options;
}

/// adam_update(g) -> w, m, v[, largest]; scalars: learning rate, learning rate / (1 - beta1^t),
/// 1 / sqrt(1 - beta2^t).
template <class T, bool decoupled>
void adam(const Part<T>& part, const Call& call) {
    adam_update(part.in(0), part.out(0), part.out(1), part.out(2), part.out(3), part.size(),
                {part.scalar(0), part.scalar(1), part.scalar(2)}, adam_options(call, decoupled));
}

/// adamax_update(g) -> w, m, u; scalars: learning rate / (1 - beta1^t).
template <class T>
void adamax(const Part<T>& part, const Call& call) {
    adamax_update(part.in(0), part.out(0), part.out(1), part.out(2), part.size(), part.scalar(0),
                  adam_options(call, false));
}

/// nadam_update(g) -> w, m, v; scalars: the four of NadamStep.
template <class T>
void nadam(const Part<T>& part, const Call& call) {
    nadam_update(part.in(0), part.out(0), part.out(1), part.out(2), part.size(),
                 {part.scalar(0), part.scalar(1), part.scalar(2), part.scalar(3)},
                 adam_options(call, call.attr(5) != 0.0));
}

/// radam_update(g) -> w, m, v; scalars: the three of RadamStep.
template <class T>
void radam(const Part<T>& part, const Call& call) {
    radam_update(part.in(0), part.out(0), part.out(1), part.out(2), part.size(),
                 {part.scalar(0), part.scalar(1), part.scalar(2) != 0.0},
                 adam_options(call, call.attr(5) != 0.0));
}

/// rmsprop_update(g) -> w, square, buf, mean; scalars: learning rate. Without momentum there is no
/// buf, without attribute `centered` no mean.
template <class T>
void rmsprop(const Part<T>& part, const Call& call) {
    RmspropOptions options;
    options.alpha = call.attr(1);
    options.eps = call.attr(2);
    options.weight_decay = call.attr(3);
    options.momentum = call.attr(4);
    const bool momentum = options.momentum != 0.0, centered = call.attr(5) != 0.0;
    rmsprop_update(part.in(0), part.out(0), part.out(1), momentum ? part.out(2) : nullptr,
                   centered ? part.out(momentum ? 3 : 2) : nullptr, part.size(), part.scalar(0),
                   options);
}

/// adagrad_update(g) -> w, sum; scalars: learning rate / (1 + (t - 1) lr_decay).
template <class T>
void adagrad(const Part<T>& part, const Call& call) {
    adagrad_update(part.in(0), part.out(0), part.out(1), part.size(), part.scalar(0), call.attr(2),
                   call.attr(1));
}

/// adadelta_update(g) -> w, square, moves; scalars: learning rate.
template <class T>
void adadelta(const Part<T>& part, const Call& call) {
    const AdadeltaOptions options = {call.attr(1), call.attr(2), call.attr(3)};
    adadelta_update(part.in(0), part.out(0), part.out(1), part.out(2), part.size(), part.scalar(0),
                    options);
}

/// lion_update(g) -> w, m; scalars: learning rate.
template <class T>
void lion(const Part<T>& part, const Call& call) {
    const LionOptions options = {call.attr(1), call.attr(2), call.attr(3)};
    lion_update(part.in(0), part.out(0), part.out(1), part.size(), part.scalar(0), options);
}

/// rprop_update(g) -> w, previous, size; no scalars.
template <class T>
void rprop(const Part<T>& part, const Call& call) {
    const RpropOptions options = {call.attr(1), call.attr(2), call.attr(3), call.attr(4)};
    rprop_update(part.in(0), part.out(0), part.out(1), part.out(2), part.size(), options);
}

/// lamb_direction(g, w) -> r, m, v, squares [1, 2, rows]: the rows' sums of w^2, then those of r^2;
/// scalars: 1 / (1 - beta1^t), 1 / sqrt(1 - beta2^t).
template <class T>
void direction(const Call& call, const Team& team) {
    const Part<T> part(call, team);
    if (part.empty()) return;
    const Range own = own_rows(call, team);
    T* squares = output<T>(call, 3) + own.begin;
    const LambRows<T> rows = {part.in(0),
                              part.in(1),
                              part.out(0),
                              part.out(1),
                              part.out(2),
                              squares,
                              squares + call.out[0].rows(),
                              own.size(),
                              call.out[0].row_size()};
    const LambOptions options = {call.attr(1), call.attr(2), call.attr(3), call.attr(4)};
    lamb_direction(rows, part.scalar(0), part.scalar(1), options);
}

/// lamb_update(r, squares) -> w; scalars: learning rate.
template <class T>
void lamb(const Part<T>& part, const Call& call) {
    const Index rows = call.out[0].rows();
    const T* squares = input<T>(call, 1);
    lamb_update(part.in(0), part.out(0), part.size(), part.scalar(0), lamb_norm(squares, rows),
                lamb_norm(squares + rows, rows));
}

/// average_update(w) -> average; scalars: the share of w.
template <class T>
void average(const Part<T>& part, const Call&) {
    average_update(part.in(0), part.out(0), part.size(), part.scalar(0));
}

/// accumulate_gradient(g) -> sum; scalars: 0 to begin anew, the factor of g.
template <class T>
void accumulate(const Part<T>& part, const Call&) {
    accumulate_gradient(part.in(0), part.out(0), part.size(), part.scalar(0), part.scalar(1));
}

/// x [..., in] and dz [..., out] of a weight [in, out].
void check_factors(const TensorView& x, const TensorView& dz, const TensorView& weight) {
    require(x.dtype == weight.dtype && dz.dtype == weight.dtype, "update: x is ",
            dtype_name(x.dtype), ", dz ", dtype_name(dz.dtype), ", the weight ",
            dtype_name(weight.dtype));
    require(x.rank >= 2 && dz.rank >= 2 && weight.rank == 2 && x.outer() == dz.outer() &&
                x.last() == weight.shape[0] && dz.last() == weight.shape[1],
            "update: x^T dz of [", x.outer(), ", ", x.last(), "] and [", dz.outer(), ", ",
            dz.last(), "] is no gradient of a weight of ", weight.size(), " elements");
}

/// `states` arrays beside the weight must be there, all of its size, and `scalars` numbers.
template <int states, int scalars, bool factors = false>
void check_update(const Call& call) {
    const TensorView& weight = call.out[0];
    const auto same = [&](const TensorView& view) {
        return view.dtype == weight.dtype && view.size() == weight.size();
    };
    if (factors && call.has(1))
        check_factors(call.in[0], call.in[1], weight);
    else
        require(same(call.in[0]), "update: the gradient has ", call.in[0].size(), " ",
                dtype_name(call.in[0].dtype), ", the weight ", weight.size(), " ",
                dtype_name(weight.dtype));
    for (int i = 1; i < call.num_out; ++i)
        require(!call.out[i].present() || same(call.out[i]), "update: state ", i, " has ",
                call.out[i].size(), " elements, the weight ", weight.size());
    for (int i = 1; i <= states; ++i)
        require(weight.size() == 0 || call.has_out(i), "update: state ", i, " is missing");
    // A Program brings the numbers of its steps later; they are not there yet when it is built.
    const Index first = call.index_attr(0);
    require(first >= 0, "update: attribute scalars is negative");
    require(call.step == nullptr || first + scalars <= call.step->num_scalars, "update: wants ",
            scalars, " of the step's scalars from ", first, " on, got ",
            call.step == nullptr ? 0 : call.step->num_scalars);
}

void check_sgd(const Call& call) {
    if (call.attr(1) == 0.0)
        check_update<0, 2, true>(call);
    else
        check_update<1, 2, true>(call);
}

void check_rmsprop(const Call& call) {
    check_update<1, 1, true>(call);
    const int states = 1 + (call.attr(4) != 0.0 ? 1 : 0) + (call.attr(5) != 0.0 ? 1 : 0);
    require(call.out[0].size() == 0 || call.has_out(states),
            "rmsprop_update: the buffers of momentum or mean are missing");
}

void require_squares(const TensorView& squares, const TensorView& weight) {
    require(weight.size() == 0 || squares.present(), "lamb: the sums of squares are missing");
    require(squares.size() == 2 * weight.rows() && squares.dtype == weight.dtype,
            "lamb: ", squares.size(), " sums of squares for ", weight.rows(), " rows");
}

void check_direction(const Call& call) {
    require(call.num_out == 4, "lamb_direction: wants 4 outputs, got ", call.num_out);
    Call arrays = call;
    arrays.num_out = 3;
    check_update<2, 2>(arrays);
    require_sizes_of_output("lamb_direction", call);
    require_squares(call.out[3], call.out[0]);
}

void check_lamb(const Call& call) {
    check_update<0, 1>(call);
    require_squares(call.in[1], call.out[0]);
}

using Names = std::vector<std::string>;

Names with(Names names, const Names& more) {
    names.insert(names.end(), more.begin(), more.end());
    return names;
}

}  // namespace

#define FASTPROP_PART(f) on_part<float, f<float>>, on_part<double, f<double>>
#define FASTPROP_UPDATE(f) on_gradient<float, f<float>>, on_gradient<double, f<double>>
#define FASTPROP_ADAM(decoupled) \
    on_gradient<float, adam<float, decoupled>>, on_gradient<double, adam<double, decoupled>>

std::vector<OpEntry> update_ops() {
    const Names adam_names = {"scalars", "beta1", "beta2", "eps", "weight_decay"};
    const Names decoupled_names = with(adam_names, {"decoupled_weight_decay"});
    const Names rmsprop_names = {"scalars", "alpha", "eps", "weight_decay", "momentum", "centered"};
    const Names rprop_names = {"scalars", "eta_minus", "eta_plus", "smallest", "largest"};
    return {
        {"sgd_update",
         {"scalars", "momentum", "nesterov", "weight_decay"},
         1,
         2,
         2,
         FASTPROP_UPDATE(sgd),
         check_sgd},
        {"adam_update", adam_names, 1, 2, 4, FASTPROP_ADAM(false), check_update<2, 3, true>},
        {"adamw_update", adam_names, 1, 2, 4, FASTPROP_ADAM(true), check_update<2, 3, true>},
        {"adamax_update", adam_names, 1, 2, 3, FASTPROP_UPDATE(adamax), check_update<2, 1, true>},
        {"nadam_update", decoupled_names, 1, 2, 3, FASTPROP_UPDATE(nadam),
         check_update<2, 4, true>},
        {"radam_update", decoupled_names, 1, 2, 3, FASTPROP_UPDATE(radam),
         check_update<2, 3, true>},
        {"rmsprop_update", rmsprop_names, 1, 2, 4, FASTPROP_UPDATE(rmsprop), check_rmsprop},
        {"adagrad_update",
         {"scalars", "eps", "weight_decay"},
         1,
         2,
         2,
         FASTPROP_UPDATE(adagrad),
         check_update<1, 1, true>},
        {"adadelta_update",
         {"scalars", "rho", "eps", "weight_decay"},
         1,
         2,
         3,
         FASTPROP_UPDATE(adadelta),
         check_update<2, 1, true>},
        {"lion_update",
         {"scalars", "beta1", "beta2", "weight_decay"},
         1,
         2,
         2,
         FASTPROP_UPDATE(lion),
         check_update<1, 1, true>},
        {"rprop_update", rprop_names, 1, 2, 3, FASTPROP_UPDATE(rprop), check_update<2, 0, true>},
        {"lamb_direction", adam_names, 2, 2, 4, direction<float>, direction<double>,
         check_direction},
        {"lamb_update", {"scalars"}, 2, 2, 1, FASTPROP_PART(lamb), check_lamb},
        {"average_update", {"scalars"}, 1, 1, 1, FASTPROP_PART(average), check_update<0, 1>},
        {"accumulate_gradient",
         {"scalars"},
         1,
         1,
         1,
         FASTPROP_PART(accumulate),
         check_update<0, 2>},
    };
}

#undef FASTPROP_ADAM
#undef FASTPROP_UPDATE
#undef FASTPROP_PART

}  // namespace fastprop
