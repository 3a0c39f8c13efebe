// Updates that take x and dz of a dense layer instead of the gradient of its weight.

#include <gtest/gtest.h>

#include "op_runner.h"

namespace fastprop {
namespace {

using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

using Doubles = std::vector<double>;

struct Rule {
    const char* op;
    int states;
    Doubles attrs;  ///< behind `scalars`
};

const Rule kRules[] = {{"sgd_update", 1, {0.9, 1, 0.1}},
                       {"adam_update", 2, {0.9, 0.5, 1e-6, 0.1}},
                       {"adamw_update", 3, {0.9, 0.5, 1e-6, 0.1}},
                       {"adamax_update", 2, {0.9, 0.5, 1e-6, 0.1}},
                       {"nadam_update", 2, {0.9, 0.5, 1e-6, 0.1, 1}},
                       {"radam_update", 2, {0.9, 0.5, 1e-6, 0.1, 0}},
                       {"rmsprop_update", 3, {0.9, 1e-6, 0.1, 0.5, 1}},
                       {"adagrad_update", 1, {1e-6, 0.1}},
                       {"adadelta_update", 2, {0.9, 1e-6, 0.1}},
                       {"lion_update", 1, {0.9, 0.5, 0.1}},
                       {"rprop_update", 2, {0.5, 1.2, 1e-3, 0.5}}};

const Doubles kNumbers = {0.1, 0.2, 1.5, 1.25};

StepContext step() {
    StepContext context;
    context.scalars = kNumbers.data();
    context.num_scalars = static_cast<Index>(kNumbers.size());
    return context;
}

/// A weight [in, out] moved once, by its gradient, and by x and dz.
template <class T>
void check_factors(const Rule& rule, Index batch, Index in, Index out, int threads) {
    const auto x = random_values<T>(batch * in, 1), dz = random_values<T>(batch * out, 2);
    const TensorView vx = view(x, {batch, in}), vdz = view(dz, {batch, out});
    const std::vector<T> g(static_cast<std::size_t>(in * out));
    run_op("dense_backward_weights", {vx, vdz}, {view(g, {in, out})}, {});
    std::vector<std::vector<T>> by_gradient{random_values<T>(in * out, 3)};
    for (int k = 0; k < rule.states; ++k) by_gradient.emplace_back(g.size(), T(0.25));
    const auto before = by_gradient;
    auto by_factors = by_gradient;
    Doubles attrs = {0};
    attrs.insert(attrs.end(), rule.attrs.begin(), rule.attrs.end());
    const StepContext context = step();
    const auto move_weight = [&](const std::vector<std::vector<T>>& arrays,
                                 const std::vector<TensorView>& inputs) {
        std::vector<TensorView> outputs;
        for (const auto& array : arrays) outputs.push_back(view(array, {in, out}));
        run_op(rule.op, inputs, outputs, attrs, threads, &context);
    };
    move_weight(by_gradient, {view(g, {in, out})});
    move_weight(by_factors, {vx, vdz});
    EXPECT_FALSE(same_bits(by_gradient[0], before[0])) << rule.op;
    for (std::size_t k = 0; k < by_gradient.size(); ++k)
        EXPECT_TRUE(same_bits(by_gradient[k], by_factors[k]))
            << rule.op << ", array " << k << ", " << batch << " rows, " << in << " x " << out;
}

template <class T>
class UpdateFactors : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(UpdateFactors, Types);

TYPED_TEST(UpdateFactors, EveryRuleGivesTheSameBits) {
    for (const Rule& rule : kRules) check_factors<TypeParam>(rule, 5, 17, 9, 3);
}

TYPED_TEST(UpdateFactors, EveryProductGivesTheSameBits) {
    for (const Index batch : {1, 3, 12, 13, 40})
        for (const Index in : {1, 3, 13, 400})
            for (const Index out : {1, 7, 64, 127, 128, 301})
                for (const int threads : {1, 3})
                    check_factors<TypeParam>(kRules[1], batch, in, out, threads);
}

TEST(UpdateFactorsEdges, ThoseOfAnotherWeightAreRefused) {
    const std::vector<float> a(64);
    const std::vector<double> b(64);
    const StepContext context = step();
    const auto run = [&](const TensorView& x, const TensorView& dz, const TensorView& weight) {
        run_op("adam_update", {x, dz}, {weight, weight, weight}, {0, 0.9, 0.9, 1e-8, 0}, 1,
               &context);
    };
    EXPECT_NO_THROW(run(view(a, {4, 3}), view(a, {4, 5}), view(a, {3, 5})));
    EXPECT_NO_THROW(run(view(a, {4, 3}), view(a, {4, 0}), view(a, {3, 0})));
    EXPECT_NO_THROW(run(view(a, {4, 0}), view(a, {4, 5}), view(a, {0, 5})));
    EXPECT_NO_THROW(run(view(a, {0, 3}), view(a, {0, 5}), view(a, {3, 5})));
    EXPECT_THROW(run(view(a, {4, 3}), view(a, {5, 5}), view(a, {3, 5})), Error);
    EXPECT_THROW(run(view(a, {4, 3}), view(a, {4, 5}), view(a, {5, 3})), Error);
    EXPECT_THROW(run(view(a, {4, 3}), view(a, {4, 5}), view(a, {15})), Error);
    EXPECT_THROW(run(view(a, {3}), view(a, {5}), view(a, {3, 5})), Error);
    EXPECT_THROW(run(view(b, {4, 3}), view(a, {4, 5}), view(a, {3, 5})), Error);
}

}  // namespace
}  // namespace fastprop
