// Chains of elementwise ops: the bits of one op after the other, for every slice; bad chains.

#include <gtest/gtest.h>

#include "core/check.h"
#include "kernels/activation.h"
#include "op_runner.h"
#include "reference.h"

namespace fastprop {
namespace {

using test::random_values;
using test::run_op;
using test::same_bits;
using test::Shape;
using test::size_of;
using test::view_of;

/// The attributes of a chain: (op, a, b, y) of each step, as ChainOp counts the ops.
std::vector<double> chain(const std::vector<std::vector<double>>& steps) {
    std::vector<double> attrs = {static_cast<double>(steps.size())};
    for (const auto& step : steps) attrs.insert(attrs.end(), step.begin(), step.end());
    attrs.resize(find_op("elementwise_chain").attributes.size());
    return attrs;
}

enum { kAdd, kSub, kMul, kDiv, kNeg, kSquare, kRelu, kSigmoid, kTanh };

/// Inputs x, y and a number s; outputs p = tanh'(x) (x s), q = -((p - y) / x)^2 + relu'(y) p +
/// sigmoid'(y) p.
const std::vector<std::vector<double>> kSteps = {
    {kMul, 0, 2, 5}, {kTanh, 0, 5, 3}, {kSub, 3, 1, 5}, {kDiv, 5, 0, 5},     {kSquare, 5, 5, 6},
    {kNeg, 6, 6, 6}, {kRelu, 1, 3, 7}, {kAdd, 6, 7, 6}, {kSigmoid, 1, 3, 7}, {kAdd, 6, 7, 4}};

template <class T>
void expect_bits_of_single_ops(const Shape& shape, int threads) {
    const Index n = size_of(shape);
    const std::vector<T> x = random_values<T>(n, 1), y = random_values<T>(n, 2), s = {T(-0.7)};
    std::vector<T> p(x.size()), q(x.size()), t(x.size()), u(x.size());
    const auto of = [&](const std::vector<T>& v) { return view_of(v, shape); };
    const auto slope = [&](Activation kind, const std::vector<T>& h, const std::vector<T>& dy,
                           const std::vector<T>& dx) {
        run_op("activation_backward", {of(h), of(dy)}, {of(dx)}, {static_cast<double>(kind), 0, 0});
    };
    run_op("mul", {of(x), view_of(s, {})}, {of(t)}, {});
    slope(Activation::tanh, x, t, p);
    run_op("sub", {of(p), of(y)}, {of(t)}, {});
    run_op("div", {of(t), of(x)}, {of(t)}, {});
    run_op("square", {of(t)}, {of(t)}, {});
    run_op("neg", {of(t)}, {of(t)}, {});
    slope(Activation::relu, y, p, u);
    run_op("add", {of(t), of(u)}, {of(t)}, {});
    slope(Activation::sigmoid, y, p, u);
    run_op("add", {of(t), of(u)}, {of(q)}, {});

    std::vector<T> got_p(x.size()), got_q(x.size());
    run_op("elementwise_chain", {of(x), of(y), view_of(s, {})}, {of(got_p), of(got_q)},
           chain(kSteps), threads);
    EXPECT_TRUE(same_bits(p, got_p)) << n;
    EXPECT_TRUE(same_bits(q, got_q)) << n;
}

TEST(ElementwiseChain, HasTheBitsOfSingleOps) {
    const Shape shapes[] = {{1}, {3}, {17, 1}, {5, 7}, {33, 20}, {130, 9}, {2, 1031}};
    for (const Shape& shape : shapes)
        for (int threads = 1; threads <= 3; ++threads) {
            expect_bits_of_single_ops<float>(shape, threads);
            expect_bits_of_single_ops<double>(shape, threads);
        }
}

TEST(ElementwiseChain, NothingToDo) {
    const std::vector<float> x;
    std::vector<float> y;
    const std::vector<std::vector<double>> steps = {{kSquare, 0, 0, 1}};
    EXPECT_NO_THROW(
        run_op("elementwise_chain", {view_of(x, {0, 3})}, {view_of(y, {0, 3})}, chain(steps)));
}

TEST(ElementwiseChain, MayOverwriteWhatItReads) {
    std::vector<double> x = random_values<double>(1000, 1);
    std::vector<double> want(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) want[i] = x[i] * x[i] + x[i];
    run_op("elementwise_chain", {view_of(x, {1000})}, {view_of(x, {1000})},
           chain({{kMul, 0, 0, 2}, {kAdd, 2, 0, 1}}), 2);
    EXPECT_TRUE(same_bits(x, want));
}

TEST(ElementwiseChain, RefusesWhatIsNoChain) {
    const std::vector<float> x(8), shorter(7);
    std::vector<float> y(8);
    const auto run = [&](const std::vector<std::vector<double>>& steps) {
        run_op("elementwise_chain", {view_of(x, {8})}, {view_of(y, {8})}, chain(steps));
    };
    EXPECT_NO_THROW(run({{kNeg, 0, 0, 1}}));
    EXPECT_THROW(run({}), Error);              // nothing writes the output
    EXPECT_THROW(run({{9, 0, 0, 1}}), Error);  // no such op
    EXPECT_THROW(run({{-1, 0, 0, 1}}), Error);
    EXPECT_THROW(run({{kAdd, 0, 2, 1}}), Error);    // read before it is written
    EXPECT_THROW(run({{kNeg, 0, 0, 0}}), Error);    // writes an input
    EXPECT_THROW(run({{kNeg, 0.5, 0, 1}}), Error);  // no number of an operand
    EXPECT_THROW(run({{kNeg, 0, 0, 500}}), Error);
    EXPECT_THROW(run_op("elementwise_chain", {view_of(x, {8}), view_of(shorter, {7})},
                        {view_of(y, {8})}, chain({{kAdd, 0, 1, 2}})),
                 Error);
    std::vector<double> many = chain({{kNeg, 0, 0, 1}});
    many[0] = 1000;
    EXPECT_THROW(run_op("elementwise_chain", {view_of(x, {8})}, {view_of(y, {8})}, many), Error);
}

}  // namespace
}  // namespace fastprop
