// Gathering rows, counting metrics, and the looks at data before a run.

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "kernels/activation.h"
#include "kernels/finite.h"
#include "op_runner.h"

namespace fastprop {
namespace {

using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

template <class T>
class Gather : public testing::Test {};
using AllTypes = testing::Types<float, double, std::int32_t, std::int64_t, std::uint8_t>;
TYPED_TEST_SUITE(Gather, AllTypes);

TYPED_TEST(Gather, RowsInOrder) {
    using T = TypeParam;
    const Index source_rows = 50;
    const std::vector<std::int64_t> order = {49, 0, 7,  7,  3, 48, 20, 21, 22,
                                             1,  9, 30, 11, 5, 0,  2,  31};
    const Index rows = static_cast<Index>(order.size());
    for (Index columns : {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 33, 100, 1000}) {
        std::vector<T> source(static_cast<std::size_t>(source_rows * columns));
        std::iota(source.begin(), source.end(), T(0));
        for (int threads : {1, 2, 3}) {
            std::vector<T> batch(static_cast<std::size_t>(rows * columns));
            run_op("gather_rows", {view(source, {source_rows, columns}), view(order, {rows})},
                   {view(batch, {rows, columns})}, {}, threads);
            for (Index i = 0; i < rows; ++i)
                for (Index j = 0; j < columns; ++j)
                    ASSERT_EQ(batch[std::size_t(i * columns + j)],
                              source[std::size_t(order[std::size_t(i)] * columns + j)]);
        }
    }
}

TYPED_TEST(Gather, WithoutAnOrderTheStepSaysWhichRows) {
    using T = TypeParam;
    std::vector<T> source(60);
    std::iota(source.begin(), source.end(), T(0));
    const std::vector<std::int64_t> order = {19, 0, 5, 5, 7, 1, 2};
    StepContext step;
    step.order = order.data();
    for (int threads : {1, 3}) {
        std::vector<T> batch(21), given(21);
        run_op("gather_rows", {view(source, {20, 3})}, {view(batch, {7, 3})}, {}, threads, &step);
        run_op("gather_rows", {view(source, {20, 3}), view(order, {7})}, {view(given, {7, 3})}, {});
        EXPECT_EQ(batch, given);
    }
    const std::vector<T> batch(21);
    step.order = nullptr;
    EXPECT_THROW(
        run_op("gather_rows", {view(source, {20, 3})}, {view(batch, {7, 3})}, {}, 1, &step), Error);
    EXPECT_THROW(
        run_op("gather_rows", {view(source, {15, 4}), view(order, {7})}, {view(batch, {7, 3})}, {}),
        Error);
}

TEST(GatherBounds, WrongIndexStaysInBounds) {
    const std::vector<std::int64_t> order = {2, -1, 3, std::int64_t{1} << 60};
    for (Index columns : {3, 40}) {
        const std::vector<float> source(static_cast<std::size_t>(3 * columns), 1.0f);
        std::vector<float> batch = nan_values<float>(4 * columns);
        run_op("gather_rows", {view(source, {3, columns}), view(order, {4})},
               {view(batch, {4, columns})}, {});
        for (Index i = 0; i < 4; ++i)
            EXPECT_EQ(batch[std::size_t(i * columns)], i == 0 ? 1.0f : 0.0f);
    }
}

template <class T>
class Gathered : public testing::Test {};
using FloatTypes = testing::Types<float, double>;
TYPED_TEST_SUITE(Gathered, FloatTypes);

/// The same bits as copying the rows first, for any number of threads.
TYPED_TEST(Gathered, LayersOfOneColumnReadRowsWhereTheyLie) {
    using T = TypeParam;
    const Index source_rows = 50;
    const double tanh = static_cast<double>(Activation::tanh);
    for (Index rows : {1, 2, 7, 8, 9, 16, 17, 31, 33, 40}) {
        std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
        for (std::size_t i = 0; i < order.size(); ++i)
            order[i] = static_cast<std::int64_t>((i * 37 + 11) % 50);
        for (Index in : {1, 3, 4, 8, 15, 16, 17, 31, 64, 100, 333}) {
            const std::vector<T> source = random_values<T>(source_rows * in, 1);
            const std::vector<T> w = random_values<T>(in, 2), b = random_values<T>(1, 3);
            const std::vector<T> dz = random_values<T>(rows, 4);
            std::vector<T> x(static_cast<std::size_t>(rows * in));
            run_op("gather_rows", {view(source, {source_rows, in}), view(order, {rows})},
                   {view(x, {rows, in})}, {});
            std::vector<T> y(order.size()), z(order.size()), dw(w.size());
            run_op("dense", {view(x, {rows, in}), view(w, {in, 1}), view(b, {1})},
                   {view(y, {rows, 1}), view(z, {rows, 1})}, {tanh, 0, 0});
            run_op("dense_backward_weights", {view(x, {rows, in}), view(dz, {rows, 1})},
                   {view(dw, {in, 1})}, {});
            StepContext step;
            step.order = order.data();
            for (int threads : {1, 2, 3}) {
                std::vector<T> y2 = nan_values<T>(rows), z2 = y2, dw2 = nan_values<T>(in);
                run_op("dense_gathered",
                       {view(source, {source_rows, in}), view(w, {in, 1}), view(b, {1})},
                       {view(y2, {rows, 1}), view(z2, {rows, 1})}, {tanh, 0, 0}, threads, &step);
                EXPECT_TRUE(same_bits(y, y2) && same_bits(z, z2)) << rows << "x" << in;
                run_op("dense_backward_weights_gathered",
                       {view(source, {source_rows, in}), view(dz, {rows, 1}), view(order, {rows})},
                       {view(dw2, {in, 1})}, {}, threads);
                EXPECT_TRUE(same_bits(dw, dw2)) << rows << "x" << in;
            }
        }
    }
}

TYPED_TEST(Gathered, RefusesWhatDoesNotFit) {
    using T = TypeParam;
    const std::vector<T> x(60), w(3), y(7);
    const std::vector<std::int64_t> order(7);
    const TensorView source = view(x, {20, 3}), sums = view(y, {7, 1}), rows = view(order, {7});
    const std::vector<double> attrs = {0, 0, 0};
    const auto forward = [&](const TensorView& weight, const TensorView& out) {
        run_op("dense_gathered", {source, weight, {}, rows}, {out}, attrs);
    };
    forward(view(w, {3, 1}), sums);
    EXPECT_THROW(forward(view(w, {1, 3}), sums), Error);
    EXPECT_THROW(forward(view(w, {3, 1}), view(y, {1, 7})), Error);
    EXPECT_THROW(forward(view(w, {3, 1}), view(y, {6, 1})), Error);
    const StepContext step;
    EXPECT_THROW(
        run_op("dense_backward_weights_gathered", {source, sums}, {view(w, {3, 1})}, {}, 1, &step),
        Error);
}

TEST(GatheredBounds, WrongIndexStaysInBounds) {
    const std::vector<std::int64_t> order = {2, -1, 3, std::int64_t{1} << 60};
    const std::vector<float> source(9, 1.0f), w(3, 1.0f);
    std::vector<float> y(4), dw(3);
    run_op("dense_gathered", {view(source, {3, 3}), view(w, {3, 1}), {}, view(order, {4})},
           {view(y, {4, 1})}, {0, 0, 0});
    run_op("dense_backward_weights_gathered",
           {view(source, {3, 3}), view(y, {4, 1}), view(order, {4})}, {view(dw, {3, 1})}, {});
    EXPECT_EQ(y, std::vector<float>(4, 3.0f));
    EXPECT_EQ(dw, std::vector<float>(3, 12.0f));
}

template <class T>
class Metric : public testing::Test {};
TYPED_TEST_SUITE(Metric, FloatTypes);

/// By sorting the classes: larger scores first, of equal ones the lower index.
template <class T>
bool among_first(const T* scores, Index classes, Index label, Index k) {
    std::vector<Index> rank(static_cast<std::size_t>(classes));
    std::iota(rank.begin(), rank.end(), Index{0});
    std::stable_sort(rank.begin(), rank.end(),
                     [&](Index a, Index b) { return scores[a] > scores[b]; });
    return std::find(rank.begin(), rank.end(), label) - rank.begin() < k;
}

TYPED_TEST(Metric, TopK) {
    using T = TypeParam;
    const Index rows = 67;
    for (Index classes : {1, 2, 3, 8, 10, 17, 33, 100}) {
        std::vector<T> scores = random_values<T>(rows * classes, 1);
        for (T& s : scores) s = std::floor(s * 4);  // many ties
        std::vector<std::int64_t> labels;
        for (Index i = 0; i < rows; ++i) labels.push_back(i * 5 % classes);
        for (Index k : {1, 2, 5}) {
            for (int threads : {1, 2, 3}) {
                std::vector<T> correct = nan_values<T>(rows);
                run_op("top_k_correct", {view(scores, {rows, classes}), view(labels, {rows})},
                       {view(correct, {rows})}, {double(k)}, threads);
                for (Index i = 0; i < rows; ++i) {
                    const bool want = among_first(scores.data() + i * classes, classes,
                                                  Index(labels[std::size_t(i)]), k);
                    ASSERT_EQ(correct[std::size_t(i)], T(want)) << classes << ' ' << k << ' ' << i;
                }
            }
        }
    }
}

TYPED_TEST(Metric, NothingIsCorrectWhereLabelOrScoreIsNone) {
    using T = TypeParam;
    const std::vector<T> scores = {1, 0, 1, 0, 1, 0, std::numeric_limits<T>::quiet_NaN(), 0};
    const std::vector<std::int64_t> labels = {0, -1, 2, 0};
    std::vector<T> correct = nan_values<T>(4);
    run_op("top_k_correct", {view(scores, {4, 2}), view(labels, {4})}, {view(correct, {4})}, {2});
    EXPECT_EQ(correct, (std::vector<T>{1, 0, 0, 0}));
}

TYPED_TEST(Metric, BinaryCorrectIsTheRowsShare) {
    using T = TypeParam;
    const std::vector<T> pred = {1, -1, 2, -2, 3, 4}, target = {1, 0, 0, 0, 1, 0};
    for (int threads : {1, 2}) {
        std::vector<T> correct = nan_values<T>(3);
        run_op("binary_correct", {view(pred, {3, 2}), view(target, {3, 2})}, {view(correct, {3})},
               {0}, threads);
        EXPECT_EQ(correct, (std::vector<T>{T(1), T(0.5), T(0.5)}));
    }
}

TYPED_TEST(Metric, NonFiniteValuesAreFoundWhereTheyAre) {
    using T = TypeParam;
    using Limits = std::numeric_limits<T>;
    for (Index n : {0, 1, 3, 17, 1023, 1024, 1025, 5000}) {
        std::vector<T> x = random_values<T>(n, 1);
        if (n > 2) x[0] = Limits::max(), x[1] = Limits::denorm_min(), x[2] = Limits::lowest();
        EXPECT_TRUE(all_finite(x.data(), n));
        EXPECT_EQ(first_nonfinite(x.data(), n), -1);
        for (T bad :
             {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), -Limits::quiet_NaN()}) {
            for (Index at : {Index{0}, n / 2, n - 1}) {
                if (at < 0 || at >= n) continue;
                const T saved = x[std::size_t(at)];
                x[std::size_t(at)] = bad;
                EXPECT_FALSE(all_finite(x.data(), n));
                EXPECT_EQ(first_nonfinite(x.data(), n), at);
                x[std::size_t(at)] = saved;
            }
        }
    }
}

TEST(Bits, AnyOfThemIsFound) {
    for (std::size_t n : {0, 1, 3, 4095, 4096, 4097, 9000}) {
        std::vector<unsigned char> memory(n + 1);
        memory[n] = 1;  // behind the end
        EXPECT_FALSE(any_bit(memory.data(), n));
        for (std::size_t at : {std::size_t{0}, n / 2, n - 1}) {
            if (at >= n) continue;
            memory[at] = 0x80;
            EXPECT_TRUE(any_bit(memory.data(), n));
            memory[at] = 0;
        }
    }
    const float minus_zero = -0.0f;
    EXPECT_TRUE(any_bit(&minus_zero, sizeof minus_zero));
}

TEST(Labels, Range) {
    const std::vector<std::int64_t> labels = {3, -4, 9, 0, 5, 2, 8, 1, 1};
    EXPECT_EQ(label_range(labels.data(), 9).least, -4);
    EXPECT_EQ(label_range(labels.data(), 9).greatest, 9);
    EXPECT_EQ(label_range(labels.data(), 1).greatest, 3);
}

}  // namespace
}  // namespace fastprop
