/// @file
/// @brief Losses in the op table: three ops each, `<loss>`, `<loss>_backward` and `<loss>_fused`.
/// (elastic_net, the penalty of weights, has no target; it is given the weights in that place.)
///
///     <loss>(pred, target[, aux]) -> rows
///     <loss>_backward(pred, target, g_rows[, aux]) -> dpred[, daux]
///     <loss>_fused(pred, target, g_rows[, aux]) -> rows, dpred[, daux]

#include "kernels/loss.h"

#include "program/op.h"

namespace fastprop {
namespace {

enum class Form { value, backward, fused };

/// Where the operands of a loss are in a call of this form.
template <Form form>
struct Operand {
    static constexpr int kGradientRows = 2;  // input, not in Form::value
    static constexpr int kAux = form == Form::value ? 2 : 3;
    static constexpr int kPredGradient = form == Form::fused ? 1 : 0;  // output
    static constexpr int kAuxGradient = kPredGradient + 1;
};

/// The memory of input i from `offset` on, or null.
template <class T>
const T* input(const Call& call, int i, Index offset) {
    return call.has(i) ? call.in[i].as<T>() + offset : nullptr;
}

/// The memory of output i from `offset` on, or null.
template <class T>
T* output(const Call& call, int i, Index offset) {
    return call.has_out(i) ? call.out[i].as<T>() + offset : nullptr;
}

template <class T>
struct LossOutputs {
    T* row_loss = nullptr;
    T* dpred = nullptr;
};

template <class T, Form form>
LossOutputs<T> outputs_of(const Call& call, Range rows, Index row_size) {
    LossOutputs<T> outputs;
    if (form != Form::backward) outputs.row_loss = output<T>(call, 0, rows.begin);
    if (form != Form::value)
        outputs.dpred = output<T>(call, Operand<form>::kPredGradient, rows.begin * row_size);
    return outputs;
}

template <class T, Form form>
const T* gradient_rows(const Call& call, Range rows) {
    if (form == Form::value) return nullptr;
    return input<T>(call, Operand<form>::kGradientRows, rows.begin);
}

// ---- Elementwise losses
// --------------------------------------------------------------------------

/// Attributes in the order in which loss_ops() declares them.
LossOptions options_of(LossKind kind, const Call& call) {
    LossOptions options;
    options.mean = call.attr(0) != 0.0;
    if (kind == LossKind::huber) options.delta = call.attr(1);
    if (kind == LossKind::poisson_nll) {
        options.log_input = call.attr(1) != 0.0;
        options.full = call.attr(2) != 0.0;
        options.eps = call.attr(3);
    }
    if (kind == LossKind::gaussian_nll) {
        options.full = call.attr(1) != 0.0;
        options.eps = call.attr(2);
    }
    if (kind == LossKind::kl_div) options.log_target = call.attr(1) != 0.0;
    if (kind == LossKind::binary_focal) {
        options.gamma = call.attr(1);
        options.alpha = call.attr(2);
    }
    if (kind == LossKind::elastic_net) {
        options.l1 = call.attr(1);
        options.l2 = call.attr(2);
    }
    return options;
}

/// The third operand is one number, or one for each index of the last axis.
constexpr bool has_column_aux(LossKind kind) {
    return kind == LossKind::binary_cross_entropy || kind == LossKind::quantile;
}

template <class T>
const T* one() {
    static constexpr T kOne = T(1);
    return &kOne;
}

/// The layout of the third operand, from row `first` on.
template <class T>
AuxLayout<T> aux_layout(LossKind kind, const TensorView& pred, const TensorView* aux, Index first) {
    const Index row_size = pred.row_size();
    if (aux == nullptr) return aux_constant(one<T>(), row_size);
    const T* data = aux->as<T>();
    if (has_column_aux(kind))
        return aux->size() == 1 ? aux_constant(data, row_size) : aux_last_axis(data, pred.last());
    if (aux->size() == pred.size()) return aux_elementwise(data + first * row_size, row_size);
    const Index vectors = pred.last() == 0 ? 0 : row_size / pred.last();
    return aux_per_vector(data + first * vectors, row_size, pred.last());
}

template <class T, LossKind kind, Form form>
void elementwise_kernel(const Call& call, const Team& team) {
    using At = Operand<form>;
    const TensorView& pred = call.in[0];
    const Range rows = team.slice(pred.rows());
    if (rows.empty()) return;
    const Index row_size = pred.row_size();
    const Index at = rows.begin * row_size;
    const TensorView* aux = call.has(At::kAux) ? &call.in[At::kAux] : nullptr;
    const LossOutputs<T> to = outputs_of<T, form>(call, rows, row_size);
    T* daux = nullptr;
    if (form != Form::value && kind == LossKind::gaussian_nll && call.has_out(At::kAuxGradient))
        daux = output<T>(call, At::kAuxGradient, rows.begin * aux->row_size());
    elementwise_loss(kind, pred.as<T>() + at, call.in[1].as<T>() + at,
                     gradient_rows<T, form>(call, rows),
                     row_size == 0 ? AuxLayout<T>{} : aux_layout<T>(kind, pred, aux, rows.begin),
                     to.row_loss, to.dpred, daux, rows.size(), row_size, options_of(kind, call));
}

/// elastic_net_add(weight, g_rows, other) -> sum, with the attributes of elastic_net.
template <class T>
void elastic_net_add_kernel(const Call& call, const Team& team) {
    const TensorView& weight = call.in[0];
    const Range rows = team.slice(weight.rows());
    if (rows.empty()) return;
    const Index row_size = weight.row_size();
    const Index at = rows.begin * row_size;
    elastic_net_add(weight.as<T>() + at, call.in[1].as<T>() + rows.begin, call.in[2].as<T>() + at,
                    call.out[0].as<T>() + at, rows.size(), row_size,
                    options_of(LossKind::elastic_net, call));
}

// ---- Cross-entropy
// ---------------------------------------------------------------------------------

template <class T, Form form, bool labels>
void cross_entropy_kernel(const Call& call, const Team& team) {
    using At = Operand<form>;
    const TensorView& pred = call.in[0];
    const Range rows = team.slice(pred.rows());
    if (rows.empty()) return;
    const Index classes = pred.last();
    const T* weight = input<T>(call, At::kAux, 0);
    const T* g_rows = gradient_rows<T, form>(call, rows);
    const T* from = pred.as<T>() + rows.begin * classes;
    const LossOutputs<T> to = outputs_of<T, form>(call, rows, classes);
    if (labels)
        cross_entropy(from, call.in[1].as<std::int64_t>() + rows.begin, g_rows, weight, to.row_loss,
                      to.dpred, rows.size(), classes, call.attr(0));
    else
        cross_entropy_probs(from, call.in[1].as<T>() + rows.begin * classes, g_rows, weight,
                            to.row_loss, to.dpred, rows.size(), classes, call.attr(0));
}

template <class T, Form form>
void focal_kernel(const Call& call, const Team& team) {
    using At = Operand<form>;
    const TensorView& pred = call.in[0];
    const Range rows = team.slice(pred.rows());
    if (rows.empty()) return;
    const Index classes = pred.last();
    const LossOutputs<T> to = outputs_of<T, form>(call, rows, classes);
    focal(pred.as<T>() + rows.begin * classes, call.in[1].as<std::int64_t>() + rows.begin,
          gradient_rows<T, form>(call, rows), input<T>(call, At::kAux, 0), to.row_loss, to.dpred,
          rows.size(), classes, call.attr(0));
}

// ---- Checks
// ----------------------------------------------------------------------------------------

void require_size(const char* what, Index got, Index wanted) {
    require(got == wanted, "loss: ", what, " has ", got, " elements, wants ", wanted);
}

template <Form form>
void check_outputs(const Call& call) {
    using At = Operand<form>;
    const TensorView& pred = call.in[0];
    if (form != Form::backward) require_size("the row losses", call.out[0].size(), pred.rows());
    if (form == Form::value) return;
    require_size("g_rows", call.in[At::kGradientRows].size(), pred.rows());
    require(call.num_out > At::kPredGradient, "loss: the output for dpred is missing");
    require_size("dpred", call.out[At::kPredGradient].size(), pred.size());
    require(call.out[At::kPredGradient].rows() == pred.rows(), "loss: dpred has ",
            call.out[At::kPredGradient].rows(), " rows, wants ", pred.rows());
}

template <LossKind kind, Form form>
void check_elementwise(const Call& call) {
    using At = Operand<form>;
    const TensorView& pred = call.in[0];
    check_outputs<form>(call);
    require(call.in[1].dtype == pred.dtype, "loss: target is of ", dtype_name(call.in[1].dtype),
            ", wants ", dtype_name(pred.dtype));
    require_size("target", call.in[1].size(), pred.size());
    const bool has_aux = call.has(At::kAux);
    const Index aux = has_aux ? call.in[At::kAux].size() : 0;
    if (has_column_aux(kind) && has_aux)
        require(aux == 1 || (pred.rank >= 2 && aux == pred.last()),
                "loss: pos_weight or quantile has ", aux, " elements, wants 1 or ", pred.last());
    if (kind != LossKind::gaussian_nll) return;
    require(has_aux || pred.size() == 0, "gaussian_nll: the variance is missing");
    require(aux == pred.size() || (pred.rank >= 2 && aux == pred.outer()), "gaussian_nll: var has ",
            aux, " elements, wants ", pred.size(), " or ", pred.outer());
    if (form != Form::value && call.has_out(At::kAuxGradient))
        require_size("dvar", call.out[At::kAuxGradient].size(), aux);
}

void check_elastic_net_add(const Call& call) {
    const TensorView& weight = call.in[0];
    for (int i = 0; i < 3; ++i)
        require(call.in[i].dtype == call.out[0].dtype, "elastic_net_add: input ", i, " is of ",
                dtype_name(call.in[i].dtype), ", wants ", dtype_name(call.out[0].dtype));
    require_size("g_rows", call.in[1].size(), weight.rows());
    require_size("the other gradient", call.in[2].size(), weight.size());
    require_size("the sum", call.out[0].size(), weight.size());
    require(call.out[0].rows() == weight.rows(), "elastic_net_add: the sum has ",
            call.out[0].rows(), " rows, wants ", weight.rows());
}

template <Form form, bool labels>
void check_cross_entropy(const Call& call) {
    using At = Operand<form>;
    const TensorView& pred = call.in[0];
    const TensorView& target = call.in[1];
    check_outputs<form>(call);
    require(pred.rank == 2, "cross_entropy: pred has rank ", pred.rank, ", wants 2");
    const DType wanted = labels ? DType::i64 : pred.dtype;
    require(target.dtype == wanted, "cross_entropy: target is of ", dtype_name(target.dtype),
            ", wants ", dtype_name(wanted));
    require_size("target", target.size(), labels ? pred.rows() : pred.size());
    if (call.has(At::kAux)) require_size("class_weight", call.in[At::kAux].size(), pred.last());
}

// ---- Rows of the table
// -----------------------------------------------------------------------------

struct LossRow {
    const char* name;
    const char* backward;
    const char* fused;
    std::vector<std::string> attributes;
};

template <LossKind kind>
void add_elementwise(std::vector<OpEntry>& ops, const LossRow& row) {
    constexpr bool variance = kind == LossKind::gaussian_nll;
    constexpr int most = 2 + (variance || has_column_aux(kind) ? 1 : 0);
    constexpr int least = variance || kind == LossKind::quantile ? 3 : 2;
    constexpr int gradients = variance ? 2 : 1;
    ops.push_back(
        {row.name, row.attributes, least, most, 1, elementwise_kernel<float, kind, Form::value>,
         elementwise_kernel<double, kind, Form::value>, check_elementwise<kind, Form::value>});
    ops.push_back({row.backward, row.attributes, least + 1, most + 1, gradients,
                   elementwise_kernel<float, kind, Form::backward>,
                   elementwise_kernel<double, kind, Form::backward>,
                   check_elementwise<kind, Form::backward>});
    ops.push_back({row.fused, row.attributes, least + 1, most + 1, gradients + 1,
                   elementwise_kernel<float, kind, Form::fused>,
                   elementwise_kernel<double, kind, Form::fused>,
                   check_elementwise<kind, Form::fused>});
}

template <bool labels>
void add_cross_entropy(std::vector<OpEntry>& ops, const LossRow& row) {
    ops.push_back({row.name, row.attributes, 2, 3, 1,
                   cross_entropy_kernel<float, Form::value, labels>,
                   cross_entropy_kernel<double, Form::value, labels>,
                   check_cross_entropy<Form::value, labels>});
    ops.push_back({row.backward, row.attributes, 3, 4, 1,
                   cross_entropy_kernel<float, Form::backward, labels>,
                   cross_entropy_kernel<double, Form::backward, labels>,
                   check_cross_entropy<Form::backward, labels>});
    ops.push_back({row.fused, row.attributes, 3, 4, 2,
                   cross_entropy_kernel<float, Form::fused, labels>,
                   cross_entropy_kernel<double, Form::fused, labels>,
                   check_cross_entropy<Form::fused, labels>});
}

void add_focal(std::vector<OpEntry>& ops, const LossRow& row) {
    ops.push_back({row.name, row.attributes, 2, 3, 1, focal_kernel<float, Form::value>,
                   focal_kernel<double, Form::value>, check_cross_entropy<Form::value, true>});
    ops.push_back({row.backward, row.attributes, 3, 4, 1, focal_kernel<float, Form::backward>,
                   focal_kernel<double, Form::backward>,
                   check_cross_entropy<Form::backward, true>});
    ops.push_back({row.fused, row.attributes, 3, 4, 2, focal_kernel<float, Form::fused>,
                   focal_kernel<double, Form::fused>, check_cross_entropy<Form::fused, true>});
}

}  // namespace

std::vector<OpEntry> loss_ops() {
    std::vector<OpEntry> ops;
    add_elementwise<LossKind::mse>(ops, {"mse", "mse_backward", "mse_fused", {"mean"}});
    add_elementwise<LossKind::mae>(ops, {"mae", "mae_backward", "mae_fused", {"mean"}});
    add_elementwise<LossKind::huber>(ops,
                                     {"huber", "huber_backward", "huber_fused", {"mean", "delta"}});
    add_elementwise<LossKind::log_cosh>(
        ops, {"log_cosh", "log_cosh_backward", "log_cosh_fused", {"mean"}});
    add_elementwise<LossKind::quantile>(
        ops, {"quantile", "quantile_backward", "quantile_fused", {"mean"}});
    add_elementwise<LossKind::hinge>(ops, {"hinge", "hinge_backward", "hinge_fused", {"mean"}});
    add_elementwise<LossKind::poisson_nll>(ops, {"poisson_nll",
                                                 "poisson_nll_backward",
                                                 "poisson_nll_fused",
                                                 {"mean", "log_input", "full", "eps"}});
    add_elementwise<LossKind::gaussian_nll>(
        ops,
        {"gaussian_nll", "gaussian_nll_backward", "gaussian_nll_fused", {"mean", "full", "eps"}});
    add_elementwise<LossKind::binary_cross_entropy>(ops, {"binary_cross_entropy",
                                                          "binary_cross_entropy_backward",
                                                          "binary_cross_entropy_fused",
                                                          {"mean"}});
    add_elementwise<LossKind::kl_div>(
        ops, {"kl_div", "kl_div_backward", "kl_div_fused", {"mean", "log_target"}});
    add_elementwise<LossKind::binary_focal>(ops, {"binary_focal",
                                                  "binary_focal_backward",
                                                  "binary_focal_fused",
                                                  {"mean", "gamma", "alpha"}});
    add_elementwise<LossKind::elastic_net>(
        ops, {"elastic_net", "elastic_net_backward", "elastic_net_fused", {"mean", "l1", "l2"}});
    ops.push_back({"elastic_net_add",
                   {"mean", "l1", "l2"},
                   3,
                   3,
                   1,
                   elastic_net_add_kernel<float>,
                   elastic_net_add_kernel<double>,
                   check_elastic_net_add});
    add_focal(ops, {"focal", "focal_backward", "focal_fused", {"gamma"}});
    add_cross_entropy<true>(
        ops,
        {"cross_entropy", "cross_entropy_backward", "cross_entropy_fused", {"label_smoothing"}});
    add_cross_entropy<false>(ops, {"cross_entropy_probs",
                                   "cross_entropy_probs_backward",
                                   "cross_entropy_probs_fused",
                                   {"label_smoothing"}});
    return ops;
}

}  // namespace fastprop
