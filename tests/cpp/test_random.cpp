// Random arrays: known words, slices, ranges, moments, and uniform permutations.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/check.h"
#include "core/philox.h"
#include "kernels/dropout.h"
#include "kernels/mixup.h"
#include "kernels/random.h"
#include "op_runner.h"

namespace fastprop {
namespace {

using test::nan_values;
using test::run_op;
using test::same_bits;
using test::view;

TEST(Philox, WordsOfTheAuthorsTests) {
    // Random123, kat_vectors: philox4x32 10.
    EXPECT_EQ(philox4x32({0, 0, 0, 0}, 0),
              (Philox4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    const std::uint32_t ones = 0xffffffff;
    EXPECT_EQ(philox4x32({ones, ones, ones, ones}, ~std::uint64_t{0}),
              (Philox4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
              (Philox4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, BatchesAreTheBlocksOneByOne) {
    const RandomStream stream{0x123456789ABCDEF0u, 7, 9};
    for (Index first : {Index{0}, Index{5}, Index{31}, Index{0x3FFFFFFE7}}) {
        for (Index n : {1, 3, 32, 33, 100}) {
            std::vector<std::uint32_t> words(static_cast<std::size_t>(n));
            random_words(stream, words.data(), first, n);
            for (Index i = 0; i < n; ++i) {
                const auto w = static_cast<std::uint64_t>(first + i);
                ASSERT_EQ(words[std::size_t(i)], philox_block(stream.seed, 7, 9, w / 4)[w % 4])
                    << first << ' ' << i;
            }
        }
    }
}

template <class T>
class Random : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Random, Types);

TYPED_TEST(Random, BitsDoNotDependOnTheTeam) {
    using T = TypeParam;
    for (const char* op : {"random_uniform", "random_normal"}) {
        for (Index rows : {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100}) {
            for (Index columns : {1, 3, 7}) {
                std::vector<T> alone = nan_values<T>(rows * columns);
                const std::vector<double> attrs = {1, 2, 3, 4, -1, 2};
                run_op(op, {}, {view(alone, {rows, columns})}, attrs);
                for (int threads : {2, 3}) {
                    std::vector<T> team = nan_values<T>(rows * columns);
                    run_op(op, {}, {view(team, {rows, columns})}, attrs, threads);
                    ASSERT_TRUE(same_bits(alone, team)) << op << rows << ' ' << columns;
                }
            }
        }
    }
}

TYPED_TEST(Random, NoiseDoesNotDependOnTheTeam) {
    using T = TypeParam;
    for (Index rows : {1, 3, 17, 64, 100}) {
        for (Index columns : {1, 3, 7, 64, 100}) {
            const std::vector<T> x(static_cast<std::size_t>(rows * columns), T(3));
            std::vector<T> alone;
            for (int threads : {1, 2, 3}) {
                std::vector<T> y = nan_values<T>(rows * columns);
                run_op("gaussian_noise", {view(x, {rows, columns})}, {view(y, {rows, columns})},
                       {1, 2, 3, 4, 0.3}, threads);
                if (threads == 1) alone = y;
                ASSERT_TRUE(same_bits(alone, y)) << rows << ' ' << columns;
            }
        }
    }
}

TYPED_TEST(Random, DropoutChoosesByTheMask) {
    using T = TypeParam;
    for (Index n : {0, 1, 3, 7, 8, 9, 63, 64, 65, 200}) {
        const auto x = test::random_values<T>(n, 1);
        std::vector<std::uint8_t> mask(x.size());
        for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i * 7 % 3 == 0 ? 0 : 1;
        for (int threads : {1, 2, 3}) {
            std::vector<T> y = nan_values<T>(n);
            run_op("dropout", {view(mask, {n}), view(x, {n})}, {view(y, {n})}, {2, 0.5, -3},
                   threads);
            for (std::size_t i = 0; i < y.size(); ++i)
                ASSERT_EQ(y[i], mask[i] ? T(2) * x[i] + T(0.5) : T(-3)) << i << " of " << n;
        }
    }
}

std::vector<std::uint8_t> mask_of(Index rows, Index columns, const std::vector<double>& attrs,
                                  int threads = 1) {
    const std::vector<float> x(static_cast<std::size_t>(rows * columns));
    std::vector<std::uint8_t> mask(x.size(), 9);
    run_op("dropout_mask", {view(x, {rows, columns})}, {view(mask, {rows, columns})}, attrs,
           threads);
    return mask;
}

TEST(DropoutMask, DoesNotDependOnTheTeam) {
    for (Index rows : {1, 3, 17, 64, 100}) {
        for (Index columns : {1, 3, 7, 64, 100}) {
            const std::vector<double> attrs = {1, 2, 3, 4, 0.3};
            const auto alone = mask_of(rows, columns, attrs);
            for (int threads : {2, 3, 7}) ASSERT_EQ(mask_of(rows, columns, attrs, threads), alone);
        }
    }
}

TEST(DropoutMask, KeepsTheRightShareOfElements) {
    const Index n = 1 << 22;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(n));
    // Half of 2^-16 is what 16 bits alone could not tell from nothing.
    for (const double p : {0.0, 0x1p-17, 0.1, 0.5, 0.99}) {
        dropout_mask({7, 8, 9}, mask.data(), 0, n, p);
        const double dropped = static_cast<double>(std::count(mask.begin(), mask.end(), 0));
        const double kept = static_cast<double>(std::count(mask.begin(), mask.end(), 1));
        EXPECT_EQ(kept + dropped, static_cast<double>(n));
        const double deviation = std::sqrt(static_cast<double>(n) * p * (1 - p));
        EXPECT_NEAR(dropped, static_cast<double>(n) * p, 4 * deviation) << p;
    }
}

TEST(DropoutMask, TakesItsStreamFromAKey) {
    const std::vector<float> x(100);
    const std::vector<std::int64_t> key = {1, 0xFFFFFFFF, 2, 3}, wide = {1, 2, 3};
    std::vector<std::uint8_t> keyed(100);
    run_op("dropout_mask", {view(x, {100}), view(key, {4})}, {view(keyed, {100})},
           {9, 9, 9, 9, 0.5});
    EXPECT_EQ(keyed, mask_of(1, 100, {1, 4294967295.0, 2, 3, 0.5}));
    EXPECT_NE(keyed, mask_of(1, 100, {1, 4294967295.0, 2, 4, 0.5}));
    const auto refused = [&](const std::vector<TensorView>& in, double p) {
        EXPECT_THROW(run_op("dropout_mask", in, {view(keyed, {100})}, {0, 0, 0, 0, p}), Error);
    };
    refused({view(x, {100})}, 1.0);
    refused({view(x, {100})}, -0.5);
    refused({view(x, {99})}, 0.5);
    refused({view(x, {100}), view(wide, {3})}, 0.5);
    EXPECT_THROW(
        run_op("dropout", {view(keyed, {99}), view(x, {100})}, {view(x, {100})}, {1, 0, 0}), Error);
    EXPECT_THROW(run_op("dropout", {view(x, {100}), view(x, {100})}, {view(x, {100})}, {1, 0, 0}),
                 Error);
}

TYPED_TEST(Random, AnotherSeedStreamOrStepIsAnotherSequence) {
    using T = TypeParam;
    std::vector<std::vector<T>> drawn;
    for (const std::vector<double>& attrs : {std::vector<double>{1, 2, 3, 4, 0, 1},
                                             {0, 2, 3, 4, 0, 1},
                                             {1, 0, 3, 4, 0, 1},
                                             {1, 2, 0, 4, 0, 1},
                                             {1, 2, 3, 0, 0, 1}}) {
        drawn.push_back(nan_values<T>(8));
        run_op("random_uniform", {}, {view(drawn.back(), {8})}, attrs);
    }
    for (std::size_t a = 0; a < drawn.size(); ++a)
        for (std::size_t b = 0; b < a; ++b) EXPECT_NE(drawn[a], drawn[b]);
}

TYPED_TEST(Random, NegativeStepMeansTheProgramsOwn) {
    using T = TypeParam;
    StepContext step;
    step.seed = (std::uint64_t{2} << 32) + 1;
    step.step = 4;
    std::vector<T> own = nan_values<T>(8), given = nan_values<T>(8);
    run_op("random_uniform", {}, {view(own, {8})}, {0, 0, 3, -1, 0, 1}, 1, &step);
    run_op("random_uniform", {}, {view(given, {8})}, {1, 2, 3, 4, 0, 1});
    EXPECT_TRUE(same_bits(own, given));
}

TYPED_TEST(Random, UniformIsInRangeWithItsMoments) {
    using T = TypeParam;
    const Index n = 200000;
    std::vector<T> x(static_cast<std::size_t>(n));
    random_uniform<T>({5, 6, 7}, x.data(), 0, n, -1.5, 2.5);
    double sum = 0, squares = 0;
    for (T v : x) {
        ASSERT_TRUE(v >= T(-1.5) && v < T(2.5));
        sum += double(v);
        squares += (double(v) - 0.5) * (double(v) - 0.5);
    }
    EXPECT_NEAR(sum / double(n), 0.5, 0.012);
    EXPECT_NEAR(squares / double(n), 16.0 / 12.0, 0.012);
    // So narrow a range that rounding could reach its end.
    const T hi = std::nextafter(std::nextafter(T(1), T(2)), T(2));
    random_uniform<T>({5, 6, 7}, x.data(), 0, 1000, 1.0, double(hi));
    for (std::size_t i = 0; i < 1000; ++i) ASSERT_TRUE(x[i] >= T(1) && x[i] < hi);
}

TYPED_TEST(Random, NormalIsBoxAndMuller) {
    using T = TypeParam;
    const RandomStream stream{5, 6, 7};
    const Index n = 1000;
    std::vector<T> z(static_cast<std::size_t>(n));
    random_normal<T>(stream, z.data(), 0, n, 3.0, 0.5);
    const double two_pi = 6.28318530717958647693;
    for (Index k = 0; k < n / 2; ++k) {
        std::uint32_t w[4];
        random_words(stream, w, k * (sizeof(T) == 4 ? 2 : 4), 4);
        const double u = sizeof(T) == 4 ? (double(w[0]) + 1) / 4294967296.0
                                        : uniform_double(w[0], w[1]) + 1 / 9007199254740992.0;
        const double v = sizeof(T) == 4 ? double(w[1]) / 4294967296.0 : uniform_double(w[2], w[3]);
        const double radius = std::sqrt(-2 * std::log(u));
        const double eps = 4 * std::numeric_limits<T>::epsilon();
        ASSERT_NEAR(z[std::size_t(2 * k)], 3 + 0.5 * radius * std::cos(two_pi * v), eps);
        ASSERT_NEAR(z[std::size_t(2 * k + 1)], 3 + 0.5 * radius * std::sin(two_pi * v), eps);
    }
}

TYPED_TEST(Random, NormalHasItsMoments) {
    using T = TypeParam;
    const Index n = 400000;
    std::vector<T> z(static_cast<std::size_t>(n));
    random_normal<T>({1, 2, 3}, z.data(), 0, n, 0.0, 1.0);
    double moments[5] = {};
    for (T v : z)
        for (int power = 1; power <= 4; ++power)
            moments[power] += std::pow(double(v), power) / double(n);
    EXPECT_NEAR(moments[1], 0.0, 0.008);
    EXPECT_NEAR(moments[2], 1.0, 0.012);
    EXPECT_NEAR(moments[3], 0.0, 0.03);
    EXPECT_NEAR(moments[4], 3.0, 0.08);
}

TEST(Mixup, SharesAreOfTheBetaDistribution) {
    const int n = 40000;
    for (const double alpha : {0.05, 0.2, 1.0, 3.0, 50.0}) {
        double first = 0, second = 0, half = 0;
        for (int step = 0; step < n; ++step) {
            const double share = mixup_share({7, 11, static_cast<std::uint32_t>(step)}, alpha);
            ASSERT_TRUE(share >= 0.5 && share <= 1.0) << alpha;
            const double product = share * (1 - share);
            first += product / n;
            second += product * product / n;
            half += (share < 0.75) / double(n);
        }
        // Moments of s (1 - s) for s of Beta(alpha, alpha).
        const double a = alpha;
        const double mean = a / (2 * (2 * a + 1));
        const double square = a * (a + 1) * (a + 1) / (2 * (2 * a + 1) * (2 * a + 2) * (2 * a + 3));
        const double deviation = std::sqrt((square - mean * mean) / n);
        EXPECT_NEAR(first, mean, 5 * deviation) << alpha;
        EXPECT_NEAR(second, square, 5 * std::sqrt(square / n) * 0.25) << alpha;
        // Uniform.
        if (alpha == 1.0) {
            EXPECT_NEAR(half, 0.5, 5 * 0.5 / std::sqrt(double(n)));
        }
    }
}

TEST(Mixup, PartnersAreEquallyLikely) {
    for (const Index rows : {1, 2, 3, 10}) {
        const int n = 30000;
        std::vector<int> seen(static_cast<std::size_t>(rows));
        for (int step = 0; step < n; ++step) {
            const Index shift = mixup_shift({7, 11, static_cast<std::uint32_t>(step)}, rows);
            ASSERT_TRUE(shift >= 0 && shift < rows);
            ++seen[std::size_t(shift)];
        }
        EXPECT_EQ(seen[0], rows == 1 ? n : 0);
        const double share = 1.0 / double(std::max<Index>(1, rows - 1));
        for (Index shift = 1; shift < rows; ++shift)
            EXPECT_NEAR(seen[std::size_t(shift)], n * share, 5 * std::sqrt(n * share)) << rows;
    }
}

TYPED_TEST(Random, MixupMixesWithTheShiftedBatch) {
    using T = TypeParam;
    for (const Index rows : {1, 2, 5, 8}) {
        for (const Index columns : {1, 3, 16, 37}) {
            const std::vector<T> x = test::random_values<T>(rows * columns, 1);
            const RandomStream stream{(std::uint64_t{2} << 32) + 1, 3, 4};
            const double share = mixup_share(stream, 0.4);
            for (const int back : {0, 1}) {
                const Index shift =
                    back ? rows - mixup_shift(stream, rows) : mixup_shift(stream, rows);
                std::vector<T> wanted(x.size());
                for (Index i = 0; i < rows; ++i)
                    for (Index j = 0; j < columns; ++j)
                        wanted[std::size_t(i * columns + j)] =
                            static_cast<T>(share) * x[std::size_t(i * columns + j)] +
                            static_cast<T>(1 - share) *
                                x[std::size_t((i + shift) % rows * columns + j)];
                for (const int threads : {1, 2, 3}) {
                    std::vector<T> y = nan_values<T>(rows * columns);
                    run_op("mixup", {view(x, {rows, columns})}, {view(y, {rows, columns})},
                           {1, 2, 3, 4, 0.4, double(back)}, threads);
                    test::expect_close(y, std::vector<double>(wanted.begin(), wanted.end()),
                                       4 * std::numeric_limits<T>::epsilon());
                }
            }
        }
    }
}

TEST(Permutation, HoldsEveryIndexOnce) {
    for (Index n : {0, 1, 2, 3, 31, 33, 100, 60000}) {
        std::vector<std::int64_t> order(static_cast<std::size_t>(n)), again(order), sorted(order),
            all(order);
        permutation(1, 2, 3, order.data(), n);
        permutation(1, 2, 3, again.data(), n);
        EXPECT_EQ(order, again);
        std::iota(all.begin(), all.end(), std::int64_t{0});
        sorted = order;
        std::sort(sorted.begin(), sorted.end());
        EXPECT_EQ(sorted, all);
    }
}

TEST(Permutation, AllAreEquallyFrequent) {
    std::map<std::vector<std::int64_t>, int> counts;
    const int draws = 24000;
    for (int step = 0; step < draws; ++step) {
        std::vector<std::int64_t> order(4);
        permutation(11, 2, static_cast<std::uint32_t>(step), order.data(), 4);
        ++counts[order];
    }
    EXPECT_EQ(counts.size(), 24u);
    double chi_square = 0;  // 23 degrees of freedom; 49.7 is exceeded once in a thousand
    for (const auto& [order, count] : counts)
        chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
    EXPECT_LT(chi_square, 49.7);
}

}  // namespace
}  // namespace fastprop
