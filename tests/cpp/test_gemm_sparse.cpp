// Products that skip zeros: every element is the chain of multiply-adds with the zeros in it.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/level.h"
#include "kernels/gemm_sparse.h"
#include "kernels/pack.h"
#include "op_runner.h"
#include "reference.h"

namespace fastprop {
namespace {

using test::random_values;

/// Leaves a share of the values, which differs from row to row; some rows are empty or full.
template <class T>
void thin_out(std::vector<T>& values, Index columns, double share, std::uint64_t seed) {
    const std::vector<double> dice = random_values<double>(static_cast<Index>(values.size()), seed);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const Index row = static_cast<Index>(i) / columns;
        const double keep = row % 7 == 3    ? 0.0
                            : row % 11 == 5 ? 1.0
                                            : share * (1 + 0.1 * (row % 3));
        if (dice[i] > 2 * keep - 1) values[i] = T(dice[i] > 0 ? 0.0 : -0.0);
    }
}

template <class T>
std::vector<T> transposed(const std::vector<T>& x, Index rows, Index columns) {
    std::vector<T> y(x.size());
    for (Index r = 0; r < rows; ++r)
        for (Index c = 0; c < columns; ++c) y[size_t(c * rows + r)] = x[size_t(r * columns + c)];
    return y;
}

/// A [m, k], B [k, n], and the sums as one multiply-add per k in order.
template <class T>
struct Problem {
    Index m, n, k;
    std::vector<T> a, b, sums;

    Problem(Index rows, Index columns, Index depth, double share_a, double share_b = 1.0)
        : m(rows), n(columns), k(depth) {
        a = random_values<T>(m * k, 1);
        b = random_values<T>(k * n, 2);
        if (share_a < 1) thin_out(a, k, share_a, 3);
        if (share_b < 1) thin_out(b, n, share_b, 4);
        add_up();
    }

    void add_up() {
        sums.assign(size_t(m * n), T(0));
        for (Index i = 0; i < m; ++i)
            for (Index l = 0; l < k; ++l)
                for (Index j = 0; j < n; ++j) {
                    const T x = a[size_t(i * k + l)], w = b[size_t(l * n + j)];
                    T& sum = sums[size_t(i * n + j)];
                    sum = fuses_multiply_add() ? std::fma(x, w, sum) : sum + x * w;
                }
    }

    void run(Zeros zeros, bool a_transposed, GemmLayout layout, T* c, Index c_stride,
             const GemmEpilogue<T>& epilogue = {}) const {
        const std::vector<T> at = transposed(a, m, k), bt = transposed(b, k, n);
        std::vector<T> packed(size_t(packed_size<T>(k, n)));
        pack_rows(b.data(), packed.data(), k, n, {0, k});
        const GemmLeft<T> left = {a_transposed ? at.data() : a.data(), a_transposed ? m : k,
                                  a_transposed};
        GemmRight<T> right = {b.data(), n, layout};
        if (layout == GemmLayout::transposed) right = {bt.data(), k, layout};
        if (layout == GemmLayout::panels) right = {packed.data(), k * panel_width<T>(), layout};
        gemm_sparse(zeros, left, right, c, c_stride, m, n, k, epilogue);
    }
};

/// The same bits, but for the payload of NaN.
template <class T>
void expect_same(const std::vector<T>& got, const std::vector<T>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
        if (std::isnan(want[i])) {
            ASSERT_TRUE(std::isnan(got[i])) << i;
        } else {
            ASSERT_EQ(std::memcmp(&got[i], &want[i], sizeof(T)), 0)
                << i << ": " << got[i] << ", wants " << want[i];
        }
    }
}

constexpr GemmLayout kLayouts[] = {GemmLayout::rows, GemmLayout::transposed, GemmLayout::panels};

template <class T>
void check_problem(const Problem<T>& p) {
    SCOPED_TRACE(testing::Message() << "m=" << p.m << " n=" << p.n << " k=" << p.k);
    for (GemmLayout layout : kLayouts) {
        for (bool a_transposed : {false, true}) {
            std::vector<T> c = test::nan_values<T>(p.m * p.n);
            p.run(Zeros::left, a_transposed, layout, c.data(), p.n);
            expect_same(c, p.sums);
        }
    }
}

template <class T>
class GemmSparse : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(GemmSparse, Types);

TYPED_TEST(GemmSparse, OddSizes) {
    for (Index m : {1, 3, 7, 16, 33})
        for (Index n : {1, 7, 8, 15, 17, 31, 100, 113})
            for (Index k : {1, 3, 9, 16, 33, 63, 64, 65})
                check_problem(Problem<TypeParam>(m, n, k, 0.2));
    for (Index m : {100, 257})
        for (Index n : {96, 240, 513})
            for (Index k : {100, 129, 200}) check_problem(Problem<TypeParam>(m, n, k, 0.2));
}

TYPED_TEST(GemmSparse, Densities) {
    for (double share : {0.0, 0.02, 0.3, 0.45})
        check_problem(Problem<TypeParam>(70, 200, 200, share));
}

// Zeros in B alone: C is made the other way round.
TYPED_TEST(GemmSparse, ZerosOfTheRightOperand) {
    using T = TypeParam;
    for (Index m : {1, 8, 9, 100, 257})
        for (Index n : {1, 7, 33, 100, 300})
            for (Index k : {1, 31, 64, 129}) {
                const Problem<T> p(m, n, k, 1.0, 0.2);
                for (GemmLayout layout : {GemmLayout::rows, GemmLayout::transposed})
                    for (bool a_transposed : {false, true}) {
                        std::vector<T> c = test::nan_values<T>(m * n);
                        p.run(Zeros::right, a_transposed, layout, c.data(), n);
                        expect_same(c, p.sums);
                    }
            }
}

TYPED_TEST(GemmSparse, Epilogues) {
    using T = TypeParam;
    for (Index n : {96, 113}) {
        const Index m = 40;
        const Problem<T> p(m, n, 150, 0.3);
        const std::vector<T> bias = random_values<T>(n, 5), h = random_values<T>(m * n, 6);
        std::vector<T> c = test::nan_values<T>(m * n), z = c, want = c, want_z = c;
        for (Index i = 0; i < m * n; ++i) {
            want_z[size_t(i)] = p.sums[size_t(i)] + bias[size_t(i % n)];
            want[size_t(i)] = std::max(want_z[size_t(i)], T(0));
        }
        GemmEpilogue<T> forward;
        forward.bias = bias.data();
        forward.z = z.data();
        forward.activation = Activation::relu;
        p.run(Zeros::left, false, GemmLayout::rows, c.data(), n, forward);
        expect_same(z, want_z);
        expect_same(c, want);

        GemmEpilogue<T> tanh = forward;
        tanh.activation = Activation::tanh;
        p.run(Zeros::left, false, GemmLayout::rows, c.data(), n, tanh);
        for (std::size_t i = 0; i < c.size(); ++i) ASSERT_NEAR(c[i], std::tanh(want_z[i]), 1e-6);

        c = h;  // C takes the place of h
        GemmEpilogue<T> backward;
        backward.activation = Activation::relu;
        backward.h = c.data();
        p.run(Zeros::left, false, GemmLayout::transposed, c.data(), n, backward);
        for (std::size_t i = 0; i < c.size(); ++i) want[i] = h[i] <= 0 ? T(0) : p.sums[i];
        expect_same(c, want);
    }
}

// Columns of a wider C, as threads that share a layer write them.
TYPED_TEST(GemmSparse, LeavesOtherColumnsAlone) {
    using T = TypeParam;
    const Index m = 40, n = 100, stride = 130;
    for (bool right : {false, true}) {
        const Problem<T> p = right ? Problem<T>(m + 70, n, 60, 1, 0.2) : Problem<T>(m, n, 60, 0.2);
        std::vector<T> c(size_t(p.m * stride), T(7)), want = c;
        for (Index i = 0; i < p.m; ++i)
            for (Index j = 0; j < n; ++j) want[size_t(i * stride + j)] = p.sums[size_t(i * n + j)];
        p.run(right ? Zeros::right : Zeros::left, false, GemmLayout::rows, c.data(), stride);
        expect_same(c, want);
    }
}

// Zero times infinity is NaN: what a network that diverges shows must not be hidden.
TYPED_TEST(GemmSparse, NotFinite) {
    using T = TypeParam;
    const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    Problem<T> p(40, 240, 150, 0.3);
    p.b[size_t(3 * p.n + 5)] = inf;
    p.b[size_t(149 * p.n + 239)] = nan;
    p.a[size_t(7 * p.k + 70)] = nan;
    p.a[size_t(8 * p.k + 71)] = -inf;
    p.add_up();
    check_problem(p);
}

// A product that underflows to -0, and a zero behind it: (-0) + 0 is +0, unless the zero is
// skipped.
TYPED_TEST(GemmSparse, NegativeZero) {
    using T = TypeParam;
    Problem<T> p(40, 240, 150, 0.3);
    const T tiny = std::sqrt(std::numeric_limits<T>::denorm_min()) / 1024;
    for (Index l = 0; l < p.k; ++l) {
        p.a[size_t(5 * p.k + l)] = l == 20 ? -tiny : T(0);
        p.a[size_t(6 * p.k + l)] = l == 149 ? -tiny : T(0);
    }
    for (Index j = 0; j < p.n; ++j) {
        p.b[size_t(20 * p.n + j)] = tiny;
        p.b[size_t(149 * p.n + j)] = tiny;
        for (Index l = 100; l < p.k - 1; ++l) p.b[size_t(l * p.n + j)] = T(j % 2 == 0 ? 1 : -1);
    }
    p.add_up();
    // Two roundings make it -0 before it meets the sum, which stays +0.
    ASSERT_EQ(std::signbit(p.sums[size_t(6 * p.n)]), fuses_multiply_add());
    check_problem(p);
}

TYPED_TEST(GemmSparse, ChoosesByZerosAndSize) {
    using T = TypeParam;
    const auto choice = [](Index m, Index n, Index k, double share_a, double share_b) {
        const Problem<T> p(m, n, k, share_a, share_b);
        return zeros_to_skip<T>({p.a.data(), k}, {p.b.data(), n}, m, n, k, {});
    };
    EXPECT_EQ(choice(100, 200, 100, 1, 1), Zeros::none);
    EXPECT_EQ(choice(8, 200, 100, 0.1, 1), Zeros::none);
    EXPECT_EQ(choice(100, 10, 100, 0.1, 1), Zeros::none);
    EXPECT_EQ(choice(100, 200, 8, 0.1, 1), Zeros::none);
    EXPECT_EQ(choice(100, 200, 100, 0.1, 1), Zeros::left);
    EXPECT_EQ(choice(200, 100, 100, 1, 0.1), Zeros::right);
}

// What a caller sees: the same bits, whatever was chosen.
TYPED_TEST(GemmSparse, InTheProduct) {
    using T = TypeParam;
    for (double share_a : {1.0, 0.2})
        for (double share_b : {1.0, 0.2}) {
            const Problem<T> p(130, 160, 140, share_a, share_b);
            std::vector<T> c = test::nan_values<T>(p.m * p.n);
            gemm<T>({p.a.data(), p.k}, {p.b.data(), p.n}, c.data(), p.n, p.m, p.n, p.k);
            expect_same(c, p.sums);
        }
}

}  // namespace
}  // namespace fastprop
