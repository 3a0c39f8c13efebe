#include "op_cases.h"

#include <iterator>

#include "kernels/activation.h"
#include "program/op.h"

namespace fastprop::test {
namespace {

const std::vector<Shape> kMatrices = {{37, 19}, {5, 130}, {3, 5003}, {130, 7}, {41, 1}, {2, 64}};

void append(std::vector<OpCase>& to, std::vector<OpCase> from) {
    std::move(from.begin(), from.end(), std::back_inserter(to));
}

/// The three forms of a loss (see ops_loss.cpp) on `aux` as the shape of their third operand.
void add_loss(std::vector<OpCase>& cases, OpCase base, const Shape& pred, const Shape* aux,
              bool aux_gradient) {
    const Shape rows = {pred[0]};
    if (aux != nullptr) base.in.push_back(*aux);
    base.out = {rows};
    cases.push_back(base);
    base.in.insert(base.in.begin() + 2, rows);
    base.out = {pred};
    if (aux_gradient) base.out.push_back(*aux);
    const std::string name = base.op;
    base.op = name + "_backward";
    cases.push_back(base);
    base.out.insert(base.out.begin(), rows);
    base.op = name + "_fused";
    cases.push_back(base);
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
    std::vector<OpCase> cases;
    for (const Shape& shape : kMatrices) {
        for (const OpEntry& op : elementwise_ops()) {
            std::vector<double> attrs(op.attributes.size(), 0.7);
            const std::vector<Shape> in(static_cast<std::size_t>(op.max_inputs), shape);
            cases.push_back({op.name, in, {shape}, attrs});
        }
        cases.push_back({"add", {shape, {shape[1]}}, {shape}, {}, -1, 1, "row"});
        cases.push_back({"mul", {shape, {shape[0], 1}}, {shape}, {}, -1, 1, "column"});
        for (int kind = 0; kind < kNumActivations; ++kind) {
            const std::vector<double> attrs = {static_cast<double>(kind), 1.0, 20.0};
            const std::string note = activation_name(static_cast<Activation>(kind));
            cases.push_back({"activation", {shape}, {shape}, attrs, -1, 1, note});
            cases.push_back({"activation_backward", {shape, shape}, {shape}, attrs, -1, 1, note});
            cases.push_back({"activation_with_slope", {shape}, {shape, shape}, attrs, -1, 1, note});
        }
    }
    return cases;
}

std::vector<OpCase> row_cases() {
    std::vector<OpCase> cases;
    for (const Shape& x : kMatrices) {
        for (const char* op : {"softmax", "log_softmax"}) {
            cases.push_back({op, {x}, {x}, {}});
            cases.push_back({std::string(op) + "_backward", {x, x}, {x}, {}});
        }
        for (const Index channels : {x[1], Index{1}}) {
            cases.push_back({"prelu", {x, {channels}}, {x}, {}});
            cases.push_back({"prelu_backward_data", {x, {channels}, x}, {x}, {}});
            cases.push_back({"prelu_backward_slope", {x, {channels}, x}, {{channels}}, {}});
        }
        for (const char* op : {"sum", "sum_squares", "mean", "max", "min"}) {
            cases.push_back({op, {x}, {{x[1]}}, {1}, -1, 1, "rows"});
            cases.push_back({op, {x}, {{x[0]}}, {2}, -1, 1, "columns"});
            cases.push_back({op, {x}, {{}}, {3}, -1, 1, "all"});
        }
        cases.push_back({"broadcast_to", {{x[0], 1}}, {x}, {}});
        cases.push_back({"broadcast_mean", {{x[0], 1}}, {x}, {}});
        cases.push_back({"transpose", {x}, {{x[1], x[0]}}, {1, 0, 0, 0, 0, 0, 0, 0}});
    }
    return cases;
}

std::vector<OpCase> normalization_cases() {
    std::vector<OpCase> cases;
    for (const Shape& x : kMatrices) {
        const Index n = x[1];
        const Shape c = {n}, pairs = {n, 2}, moments = {n, 3};
        cases.push_back({"batch_moments", {x}, {moments}, {1e-5}});
        cases.push_back({"running_moments", {moments}, {c, c}, {0.1}});
        for (const char* op : {"batch_norm", "normalize"}) {
            cases.push_back({op, {x, c, c}, {x}, {}});
            cases.push_back({op, {x, c, c, c, c}, {x}, {}, -1, 1, "affine"});
        }
        cases.push_back({"batch_norm_backward_weights", {x, c, c, x}, {pairs}, {}});
        cases.push_back({"batch_norm_backward_data", {x, c, c, x, c, c}, {x}, {}});
        cases.push_back({"batch_norm_backward_data", {x, c, c, x, c, c, c}, {x}, {}, -1, 1, "w"});
        for (const Index groups : {Index{1}, n % 2 == 0 ? Index{2} : n}) {
            const Shape stats = {x[0], groups, 2};
            const double g = static_cast<double>(groups);
            cases.push_back({"layer_moments", {x}, {stats}, {g, 1e-5, 1}});
            cases.push_back({"layer_moments", {x}, {stats}, {g, 1e-5, 0}, -1, 1, "not centered"});
            cases.push_back({"layer_norm", {x, stats}, {x}, {g}});
            cases.push_back({"layer_norm", {x, stats, c}, {x}, {g}, -1, 1, "w"});
            cases.push_back({"layer_norm", {x, stats, c, c}, {x}, {g}, -1, 1, "affine"});
            cases.push_back({"layer_norm_backward_weights", {x, stats, x}, {pairs}, {g}});
            cases.push_back({"layer_norm_backward_data", {x, stats, x}, {x}, {g, 1}});
            cases.push_back(
                {"layer_norm_backward_data", {x, stats, x, c}, {x}, {g, 0}, -1, 1, "w"});
        }
    }
    return cases;
}

std::vector<OpCase> loss_cases() {
    std::vector<OpCase> cases;
    for (const Shape& pred : kMatrices) {
        const Shape one = {1}, last = {pred[1]}, per_row = {pred[0], 1};
        for (const char* op : {"mse", "mae", "hinge", "binary_cross_entropy"})
            add_loss(cases, {op, {pred, pred}, {}, {1}}, pred, nullptr, false);
        add_loss(cases, {"binary_cross_entropy", {pred, pred}, {}, {0}, -1, 1, "weights"}, pred,
                 &last, false);
        add_loss(cases, {"log_cosh", {pred, pred}, {}, {1}}, pred, nullptr, false);
        add_loss(cases, {"quantile", {pred, pred}, {}, {1}}, pred, &last, false);
        add_loss(cases, {"kl_div", {pred, pred}, {}, {0, 1}}, pred, nullptr, false);
        add_loss(cases, {"binary_focal", {pred, pred}, {}, {1, 1.5, 0.25}}, pred, nullptr, false);
        add_loss(cases, {"elastic_net", {pred, pred}, {}, {0, 0.1, 0.2}}, pred, nullptr, false);
        cases.push_back({"elastic_net_add", {pred, {pred[0]}, pred}, {pred}, {0, 0.1, 0.2}});
        add_loss(cases, {"huber", {pred, pred}, {}, {1, 0.4}}, pred, nullptr, false);
        add_loss(cases, {"poisson_nll", {pred, pred}, {}, {1, 1, 1, 1e-8}}, pred, nullptr, false);
        add_loss(cases, {"gaussian_nll", {pred, pred}, {}, {1, 1, 1e-3}}, pred, &pred, true);
        add_loss(cases, {"gaussian_nll", {pred, pred}, {}, {0, 0, 1e-3}, -1, 1, "row variance"},
                 pred, &per_row, true);
        const Shape labels = {pred[0]};
        const auto labelled = [&](double smoothing, const char* note) {
            return OpCase{"cross_entropy", {pred, labels}, {}, {smoothing}, 1, pred[1], note};
        };
        add_loss(cases, labelled(0, "plain"), pred, nullptr, false);
        add_loss(cases, labelled(0.1, "smoothed, weighted"), pred, &last, false);
        add_loss(cases, {"focal", {pred, labels}, {}, {1.5}, 1, pred[1]}, pred, &last, false);
        add_loss(cases, {"cross_entropy_probs", {pred, pred}, {}, {0.1}}, pred, nullptr, false);
    }
    return cases;
}

std::vector<OpCase> linear_cases() {
    struct Product {
        Index m, n, k;
    };
    std::vector<OpCase> cases;
    for (const auto& [m, n, k] : {Product{37, 19, 23}, Product{5, 130, 700}, Product{1, 33, 65},
                                  Product{64, 1, 129}, Product{130, 100, 17}, Product{3, 8, 1}}) {
        const Shape x = {m, k}, w = {k, n}, y = {m, n};
        for (const Activation kind : {Activation::relu, Activation::gelu}) {
            const std::vector<double> attrs = {static_cast<double>(kind), 0, 0};
            const std::string note = activation_name(kind);
            cases.push_back({"dense", {x, w, {n}}, {y, y}, attrs, -1, 1, note});
            cases.push_back({"dense_backward_data", {y, w, x}, {x}, attrs, -1, 1, note});
        }
        cases.push_back({"dense_backward_weights", {x, y}, {w}, {}});
        cases.push_back({"dense_backward_bias", {y}, {{n}}, {}});
        // As many parts as there may be, some of them without rows, and on top of others.
        const Shape dw_parts = {7, k, n}, db_parts = {7, n};
        cases.push_back({"dense_backward_weights_parts", {x, y}, {dw_parts}, {}});
        cases.push_back(
            {"dense_backward_weights_parts", {x, y, dw_parts}, {dw_parts}, {}, -1, 1, "more"});
        cases.push_back({"sum_parts", {y}, {db_parts}, {}});
        cases.push_back({"sum_parts", {y, db_parts}, {db_parts}, {}, -1, 1, "more"});
        const Shape column = {k, 1}, sums = {m, 1};
        const std::vector<double> relu = {static_cast<double>(Activation::relu), 0, 0};
        cases.push_back({"dense_gathered", {x, column, {1}, {m}}, {sums, sums}, relu, 3, m});
        cases.push_back({"dense_backward_weights_gathered", {x, sums, {m}}, {column}, {}, 2, m});
        cases.push_back({"matmul", {x, w}, {y}, {0, 0}});
        cases.push_back({"matmul", {{k, m}, {n, k}}, {y}, {1, 1}, -1, 1, "transposed"});
    }
    return cases;
}

std::vector<OpCase> index_cases() {
    std::vector<OpCase> cases;
    // Of axis 0 the indices from the second on, of axis 1 all of them backwards.
    const auto part = [](const Shape& x) {
        const double last = static_cast<double>(x[1] - 1);
        return std::vector<double>{1, last, 0, 0, 0, 0, 0, 0, 1, -1, 1, 1, 1, 1, 1, 1};
    };
    for (const Shape& x : kMatrices) {
        const Shape less = {x[0] - 1, x[1]}, rows = {x[0]};
        std::vector<double> filled = part(x);
        filled.push_back(0.5);
        cases.push_back({"slice", {x}, {less}, part(x)});
        cases.push_back({"place", {less}, {x}, filled});
        cases.push_back({"concatenate", {x, x}, {{2 * x[0], x[1]}}, {0}, -1, 1, "rows"});
        cases.push_back({"concatenate", {x, x}, {{x[0], 2 * x[1]}}, {1}, -1, 1, "columns"});
        cases.push_back({"take", {x, rows}, {x}, {0}, 1, x[0]});
        cases.push_back({"take_add", {x, rows}, {x}, {0}, 1, x[0]});
        cases.push_back({"gather", {x, x}, {x}, {1}, 1, x[1]});
        cases.push_back({"scatter_add", {x, x}, {x}, {1}, 1, x[1]});
        cases.push_back({"cumsum", {x}, {x}, {0, 0}, -1, 1, "rows"});
        cases.push_back({"cumsum", {x}, {x}, {1, 1}, -1, 1, "columns from the end"});
    }
    return cases;
}

std::vector<OpCase> remaining_cases() {
    std::vector<OpCase> cases;
    std::vector<double> chain = {2, 2, 0, 1, 3, 8, 0, 3, 2};  // tanh'(a) (a b)
    chain.resize(find_op("elementwise_chain").attributes.size());
    for (const Shape& x : kMatrices) {
        cases.push_back({"elementwise_chain", {x, x}, {x}, chain});
        for (const char* op : {"adam_update", "adamw_update"})
            cases.push_back({op, {x}, {x, x, x}, {0, 0.9, 0.999, 1e-8, 0.01}});
        cases.push_back({"adam_update", {x}, {x, x, x, x}, {0, 0.9, 0.999, 1e-8, 0.01}});
        cases.push_back({"adamax_update", {x}, {x, x, x}, {0, 0.9, 0.999, 1e-8, 0.01}});
        for (const char* op : {"nadam_update", "radam_update"})
            cases.push_back({op, {x}, {x, x, x}, {0, 0.9, 0.999, 1e-8, 0.01, 1}});
        cases.push_back({"sgd_update", {x}, {x, x}, {0, 0.9, 1, 0.01}});
        cases.push_back({"rmsprop_update", {x}, {x, x}, {0, 0.9, 1e-8, 0.01, 0, 0}});
        cases.push_back({"rmsprop_update", {x}, {x, x, x, x}, {0, 0.9, 1e-8, 0.01, 0.9, 1}});
        cases.push_back({"adagrad_update", {x}, {x, x}, {0, 1e-10, 0.01}});
        cases.push_back({"adadelta_update", {x}, {x, x, x}, {0, 0.9, 1e-6, 0.01}});
        cases.push_back({"lion_update", {x}, {x, x}, {0, 0.9, 0.99, 0.01}});
        cases.push_back({"rprop_update", {x}, {x, x, x}, {0, 0.5, 1.2, 1e-6, 50}});
        cases.push_back(
            {"lamb_direction", {x, x}, {x, x, x, {1, 2, x[0]}}, {0, 0.9, 0.999, 1e-8, 0.01}});
        cases.push_back({"lamb_update", {x, {1, 2, x[0]}}, {x}, {0}});
        cases.push_back({"average_update", {x}, {x}, {0}});
        cases.push_back({"accumulate_gradient", {x}, {x}, {0}});
        cases.push_back({"mixup", {x}, {x}, {1, 2, 3, 4, 0.4, 0}});
        cases.push_back({"random_uniform", {}, {x}, {1, 2, 3, 4, -1, 1}});
        cases.push_back({"random_normal", {}, {x}, {1, 2, 3, 4, 0, 1}});
        cases.push_back({"dropout", {x, x}, {x}, {1.5, 0.25, -1}, -1, 1, {}, 0});
        cases.push_back({"gaussian_noise", {x}, {x}, {1, 2, 3, 4, 0.5}});
        cases.push_back({"gather_rows", {x, {x[0]}}, {x}, {}, 1, x[0]});
        cases.push_back({"top_k_correct", {x, {x[0]}}, {{x[0]}}, {1}, 1, x[1]});
        cases.push_back({"binary_correct", {x, x}, {{x[0]}}, {0.5}});
    }
    return cases;
}

std::vector<OpCase> all_cases() {
    std::vector<OpCase> cases = elementwise_cases();
    for (auto family :
         {row_cases, normalization_cases, loss_cases, linear_cases, index_cases, remaining_cases})
        append(cases, family());
    return cases;
}

template <class T>
OpArrays<T>::OpArrays(const OpCase& c) : case_(c) {
    std::uint64_t seed = 1;
    for (std::size_t i = 0; i < c.in.size(); ++i) {
        const Index n = size_of(c.in[i]);
        if (static_cast<int>(i) == c.labels) {
            for (Index k = 0; k < n; ++k) labels_.push_back(k * 7919 % c.classes);
            in_.emplace_back();
            in_views_.push_back(view_of(labels_, c.in[i]));
            continue;
        }
        if (static_cast<int>(i) == c.mask) {
            for (Index k = 0; k < n; ++k) mask_.push_back(k * 7919 % 3 == 0 ? 0 : 1);
            in_.emplace_back();
            in_views_.push_back(view_of(mask_, c.in[i]));
            continue;
        }
        in_.push_back(random_values<T>(n, seed++));
        for (T& value : in_.back()) value *= T(3);
        in_views_.push_back(view_of(in_.back(), c.in[i]));
    }
    // Updates read their outputs: none of them negative, as the second moment of Adam must not be.
    for (const Shape& shape : c.out) {
        out_.push_back(random_values<T>(size_of(shape), seed++));
        for (T& value : out_.back()) value = value < T(0) ? -value : value;
        out_views_.push_back(view_of(out_.back(), shape));
    }
}

template <class T>
void OpArrays<T>::run(int threads) {
    const double scalars[] = {1e-3, 1e-2, 0.8, 1.5};
    StepContext step;
    step.scalars = scalars;
    step.num_scalars = 4;
    run_op(case_.op, in_views_, out_views_, case_.attrs, threads, &step);
}

template class OpArrays<float>;
template class OpArrays<double>;

}  // namespace fastprop::test
