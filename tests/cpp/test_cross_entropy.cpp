// Cross-entropy of labels and of distributions: by definition, the three forms of each op bit for
// bit, slices, and what must not happen for bad labels.

#include <gtest/gtest.h>

#include <algorithm>

#include "op_runner.h"

namespace fastprop {
namespace {

using test::expect_close;
using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

using Doubles = std::vector<double>;

template <class T>
struct Outputs {
    std::vector<T> rows, dpred;
};

template <class T>
class CrossEntropy : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(CrossEntropy, Types);

const Index kRows[] = {1, 5, 17, 33};

// ---------------------------------------------------------------------------------

/// q_j by definition; `probs` null for labels.
template <class T>
Doubles target_distribution(const std::vector<std::int64_t>& labels, const T* probs,
                            const std::vector<T>& weight, Index row, Index classes,
                            double smoothing) {
    Doubles q(static_cast<std::size_t>(classes));
    for (Index j = 0; j < classes; ++j) {
        const double hit = probs != nullptr ? double(probs[row * classes + j])
                                            : (labels[std::size_t(row)] == j ? 1.0 : 0.0);
        const double w = weight.empty() ? 1.0 : double(weight[std::size_t(j)]);
        q[std::size_t(j)] = w * ((1 - smoothing) * hit + smoothing / double(classes));
    }
    return q;
}

template <class T>
struct Classification {
    Index rows, classes;
    std::vector<T> pred, probs, g, weight;
    std::vector<std::int64_t> labels;

    Classification(Index r, Index c, bool weighted) : rows(r), classes(c) {
        pred = random_values<T>(rows * classes, 1);
        probs = random_values<T>(rows * classes, 2);
        g = random_values<T>(rows, 3);
        for (T& p : pred) p *= 8;
        for (T& p : probs) p = std::abs(p);
        if (weighted) weight = random_values<T>(classes, 4);
        for (T& w : weight) w = std::abs(w) + T(0.5);
        for (Index i = 0; i < rows; ++i) labels.push_back(i * 7 % classes);
    }

    void run(bool by_label, double smoothing, int threads, Outputs<T>& apart,
             Outputs<T>& fused) const {
        const std::string name = by_label ? "cross_entropy" : "cross_entropy_probs";
        for (Outputs<T>* to : {&apart, &fused})
            *to = {nan_values<T>(rows), nan_values<T>(rows * classes)};
        std::vector<TensorView> in = {
            view(pred, {rows, classes}),
            by_label ? view(labels, {rows}) : view(probs, {rows, classes})};
        std::vector<TensorView> in_gradient = in;
        in_gradient.push_back(view(g, {rows}));
        if (!weight.empty()) in.push_back(view(weight, {classes}));
        if (!weight.empty()) in_gradient.push_back(view(weight, {classes}));
        const TensorView dpred = view(apart.dpred, {rows, classes});
        run_op(name, in, {view(apart.rows, {rows})}, {smoothing}, threads);
        run_op(name + "_backward", in_gradient, {dpred}, {smoothing}, threads);
        run_op(name + "_fused", in_gradient,
               {view(fused.rows, {rows}), view(fused.dpred, {rows, classes})}, {smoothing},
               threads);
        std::vector<T> place = pred;  // dpred may be pred
        in_gradient[0] = view(place, {rows, classes});
        run_op(name + "_fused", in_gradient, {view(fused.rows, {rows}), in_gradient[0]},
               {smoothing}, threads);
        EXPECT_TRUE(same_bits(place, fused.dpred));
    }

    void expect_definition(bool by_label, double smoothing, const Outputs<T>& got) const {
        Doubles loss, dpred;
        for (Index i = 0; i < rows; ++i) {
            const T* x = pred.data() + i * classes;
            const double top = *std::max_element(x, x + classes);
            const Doubles q = target_distribution(labels, by_label ? nullptr : probs.data(), weight,
                                                  i, classes, smoothing);
            double sum = 0, total = 0, value = 0;
            for (Index j = 0; j < classes; ++j) sum += std::exp(double(x[j]) - top);
            for (double share : q) total += share;
            for (Index j = 0; j < classes; ++j)
                value += q[std::size_t(j)] * (std::log(sum) - (double(x[j]) - top));
            loss.push_back(value);
            for (Index j = 0; j < classes; ++j)
                dpred.push_back(double(g[std::size_t(i)]) *
                                (total * std::exp(double(x[j]) - top) / sum - q[std::size_t(j)]));
        }
        const double eps = std::numeric_limits<T>::epsilon() * double(4 + classes);
        expect_close(got.rows, loss, 4 * eps);
        expect_close(got.dpred, dpred, 4 * eps);
    }
};

TYPED_TEST(CrossEntropy, MatchesDefinition) {
    using T = TypeParam;
    for (Index rows : kRows) {
        for (Index classes : {1, 2, 3, 7, 8, 9, 10, 16, 31, 32, 33, 35, 64, 65, 100, 257}) {
            for (int variant = 0; variant < 8; ++variant) {
                const bool by_label = variant & 1, weighted = variant & 2;
                const double smoothing = variant & 4 ? 0.1 : 0.0;
                SCOPED_TRACE(testing::Message()
                             << rows << ' ' << classes << " variant " << variant);
                const Classification<T> c(rows, classes, weighted);
                Outputs<T> apart, fused;
                c.run(by_label, smoothing, 1, apart, fused);
                c.expect_definition(by_label, smoothing, fused);
                EXPECT_TRUE(same_bits(apart.rows, fused.rows));
                EXPECT_TRUE(same_bits(apart.dpred, fused.dpred));
                if (testing::Test::HasFailure()) return;
            }
        }
    }
}

TYPED_TEST(CrossEntropy, BitsDoNotDependOnTheTeam) {
    using T = TypeParam;
    for (Index classes : {2, 10, 33}) {
        for (bool by_label : {true, false}) {
            const Classification<T> c(67, classes, true);
            Outputs<T> apart, fused;
            c.run(by_label, 0.1, 1, apart, fused);
            for (int threads : {2, 3}) {
                Outputs<T> apart_team, fused_team;
                c.run(by_label, 0.1, threads, apart_team, fused_team);
                EXPECT_TRUE(same_bits(fused.rows, fused_team.rows));
                EXPECT_TRUE(same_bits(fused.dpred, fused_team.dpred));
            }
        }
    }
}

TYPED_TEST(CrossEntropy, BadLabelPoisonsItsRowOnly) {
    using T = TypeParam;
    for (Index classes : {3, 50}) {
        Classification<T> c(5, classes, true);
        c.labels[1] = classes;
        c.labels[3] = -1;
        for (double smoothing : {0.0, 0.1}) {
            Outputs<T> apart, fused;
            c.run(true, smoothing, 1, apart, fused);
            for (std::size_t i = 0; i < 5; ++i)
                EXPECT_EQ(std::isnan(fused.rows[i]), i % 2 == 1) << i;
        }
    }
}

TYPED_TEST(CrossEntropy, MaskedClassesCostNothing) {
    using T = TypeParam;
    for (Index classes : {4, 50}) {
        Classification<T> c(1, classes, false);
        std::fill(c.pred.begin(), c.pred.end(), -std::numeric_limits<T>::infinity());
        c.pred[0] = c.pred[2] = 1;
        c.labels[0] = 2;
        Outputs<T> apart, fused;
        c.run(true, 0.0, 1, apart, fused);
        EXPECT_NEAR(fused.rows[0], std::log(2.0), 1e-6);
        EXPECT_NEAR(fused.dpred[2], -0.5 * double(c.g[0]), 1e-6);
        EXPECT_EQ(fused.dpred[1], T(0));
    }
}

}  // namespace
}  // namespace fastprop
