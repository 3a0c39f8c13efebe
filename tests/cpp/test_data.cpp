// Gathering rows, counting metrics, and the looks at data before a run.

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

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
class Metric : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Metric, Types);

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

TEST(Labels, Range) {
    const std::vector<std::int64_t> labels = {3, -4, 9, 0, 5, 2, 8, 1, 1};
    EXPECT_EQ(label_range(labels.data(), 9).least, -4);
    EXPECT_EQ(label_range(labels.data(), 9).greatest, 9);
    EXPECT_EQ(label_range(labels.data(), 1).greatest, 3);
}

}  // namespace
}  // namespace fastprop
