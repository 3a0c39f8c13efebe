// The matrix product: every layout, odd sizes, blocks, and bits that depend on none of them.

#include <gtest/gtest.h>

#include "core/level.h"
#include "kernels/gemm.h"
#include "kernels/pack.h"
#include "op_runner.h"
#include "reference.h"

namespace fastprop {
namespace {

using test::random_values;
using test::same_bits;

const Index kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100};

template <class T>
struct Problem {
    Index m, n, k;
    std::vector<T> a, at, b, bt, packed, packed_t;

    Problem(Index rows, Index columns, Index depth) : m(rows), n(columns), k(depth) {
        a = random_values<T>(m * k, 1);
        b = random_values<T>(k * n, 2);
        at.resize(a.size());
        bt.resize(b.size());
        for (Index i = 0; i < m; ++i)
            for (Index l = 0; l < k; ++l) at[size_t(l * m + i)] = a[size_t(i * k + l)];
        for (Index l = 0; l < k; ++l)
            for (Index j = 0; j < n; ++j) bt[size_t(j * k + l)] = b[size_t(l * n + j)];
        packed = test::nan_values<T>(packed_size<T>(k, n));
        packed_t = packed;
        pack_rows(b.data(), packed.data(), k, n, {0, k});
        pack_rows_transposed(bt.data(), packed_t.data(), n, k, {0, n});
    }

    std::vector<T> run(bool a_transposed, GemmLayout layout) const {
        std::vector<T> c = test::nan_values<T>(m * n);
        const GemmLeft<T> left = {a_transposed ? at.data() : a.data(), a_transposed ? m : k,
                                  a_transposed};
        GemmRight<T> right = {b.data(), n, layout};
        if (layout == GemmLayout::transposed) right = {bt.data(), k, layout};
        if (layout == GemmLayout::panels) right = {packed.data(), k * panel_width<T>(), layout};
        gemm(left, right, c.data(), n, m, n, k);
        return c;
    }
};

template <class T>
void check_problem(Index m, Index n, Index k) {
    SCOPED_TRACE(testing::Message() << "m=" << m << " n=" << n << " k=" << k);
    const Problem<T> p(m, n, k);
    ASSERT_TRUE(same_bits(p.packed, p.packed_t));
    const std::vector<T> c = p.run(false, GemmLayout::rows);
    const std::vector<double> want = test::matmul(p.a.data(), k, 1, p.b.data(), n, 1, m, n, k);
    for (std::size_t i = 0; i < c.size(); ++i)
        ASSERT_NEAR(c[i], want[i], test::sum_tolerance<T>(k));
    for (GemmLayout layout : {GemmLayout::rows, GemmLayout::transposed, GemmLayout::panels}) {
        ASSERT_TRUE(same_bits(c, p.run(false, layout))) << "layout " << int(layout);
        ASSERT_TRUE(same_bits(c, p.run(true, layout))) << "A^T, layout " << int(layout);
    }
}

template <class T>
class Gemm : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Gemm, Types);

TYPED_TEST(Gemm, OddSizes) {
    for (Index m : kSizes)
        for (Index n : kSizes)
            for (Index k : kSizes) check_problem<TypeParam>(m, n, k);
}

// Few enough steps for B to stay in registers, and one more.
TYPED_TEST(Gemm, FewSteps) {
    for (Index m : {1, 2, 5, 40})
        for (Index n : {2, 5, 8, 12, 20, 33, 1030})
            for (Index k = 1; k < 8; ++k) check_problem<TypeParam>(m, n, k);
}

// Last panels of all fillings, with sums up to and beyond what makes them products of their own.
TYPED_TEST(Gemm, IncompleteLastPanels) {
    for (Index m : {6, 15, 40})
        for (Index n : {37, 42, 81, 88, 100, 104, 105, 129, 136, 240, 257})
            for (Index k : {7, 17, 100, 300}) check_problem<TypeParam>(m, n, k);
}

TYPED_TEST(Gemm, SeveralBlocks) {
    check_problem<TypeParam>(230, 70, 300);
    check_problem<TypeParam>(2, 200, 1025);
    check_problem<TypeParam>(1, 130, 700);
    check_problem<TypeParam>(7, 1100, 513);
    check_problem<TypeParam>(45, 1, 1000);
    check_problem<TypeParam>(300, 5, 600);
    check_problem<TypeParam>(230, 300, 2);
    // A in strips, transposed on the way where it is stored by rows: every height of the last one.
    for (Index m = 60; m < 75; ++m) check_problem<TypeParam>(m, 513, 131);
}

TYPED_TEST(Gemm, EmptySizes) {
    for (Index m : {0, 1, 5})
        for (Index n : {0, 1, 5, 40})
            for (Index k : {0, 3})
                if (m * n * k == 0) check_problem<TypeParam>(m, n, k);
}

// Sums that begin with what is in C: the halves of k one after the other are the whole.
TYPED_TEST(Gemm, Accumulates) {
    using T = TypeParam;
    for (Index m : {1, 5, 21})
        for (Index n : {1, 3, 8, 10, 16, 20, 33})
            for (Index k : {2, 7, 40, 700}) {
                const Problem<T> p(m, n, k);
                for (bool transposed : {false, true}) {
                    std::vector<T> c = test::nan_values<T>(m * n);
                    const Index half = k / 2;
                    const GemmLeft<T> left = {transposed ? p.at.data() : p.a.data(),
                                              transposed ? m : k, transposed};
                    GemmEpilogue<T> rest;
                    rest.accumulate = true;
                    gemm<T>(left, {p.b.data(), n}, c.data(), n, m, n, half);
                    gemm<T>({left.data + half * (transposed ? m : 1), left.stride, transposed},
                            {p.b.data() + half * n, n}, c.data(), n, m, n, k - half, rest);
                    ASSERT_TRUE(same_bits(c, p.run(transposed, GemmLayout::rows)))
                        << "m=" << m << " n=" << n << " k=" << k;
                }
            }
}

// One multiply-add per k in order, whatever the tile: the same chain written out.
TYPED_TEST(Gemm, SumsInOrder) {
    using T = TypeParam;
    const Problem<T> p(13, 37, 600);
    const std::vector<T> c = p.run(false, GemmLayout::panels);
    for (Index i = 0; i < p.m; ++i) {
        for (Index j = 0; j < p.n; ++j) {
            T sum = 0;
            for (Index l = 0; l < p.k; ++l) {
                const T x = p.a[size_t(i * p.k + l)], w = p.b[size_t(l * p.n + j)];
                sum = fuses_multiply_add() ? std::fma(x, w, sum) : sum + x * w;
            }
            ASSERT_EQ(sum, c[size_t(i * p.n + j)]);
        }
    }
}

// Panels packed slice by slice are those packed at once.
TYPED_TEST(Gemm, PackSlices) {
    using T = TypeParam;
    for (Index rows : {1, 5, 16, 37, 100}) {
        for (Index columns : {1, 7, 16, 33}) {
            const std::vector<T> w = random_values<T>(rows * columns, 3);
            for (const bool transposed : {false, true}) {
                const auto pack = transposed ? &pack_rows_transposed<T> : &pack_rows<T>;
                const Index size =
                    transposed ? packed_size<T>(columns, rows) : packed_size<T>(rows, columns);
                std::vector<T> whole = test::nan_values<T>(size), parts = whole;
                pack(w.data(), whole.data(), rows, columns, {0, rows});
                for (int rank = 2; rank >= 0; --rank) {
                    pack(w.data(), parts.data(), rows, columns, Team(rank, 3, nullptr).slice(rows));
                }
                ASSERT_TRUE(same_bits(whole, parts)) << rows << " " << columns << transposed;
            }
        }
    }
}

template <class T>
std::vector<T> run_matmul(const TensorView& a, const TensorView& b,
                          std::initializer_list<Index> shape, bool ta, bool tb, int threads) {
    std::vector<T> c;
    TensorView out = test::view(c, shape);
    c = test::nan_values<T>(out.size());
    out.data = c.data();
    test::run_op("matmul", {a, b}, {out}, {double(ta), double(tb)}, threads);
    return c;
}

TYPED_TEST(Gemm, MatmulOp) {
    using T = TypeParam;
    const Index m = 9, n = 18, k = 5, batch = 3, heads = 2;
    const std::vector<T> a = random_values<T>(batch * heads * m * k, 4);
    const std::vector<T> b = random_values<T>(batch * heads * k * n, 5);
    for (const bool ta : {false, true}) {
        for (const bool tb : {false, true}) {
            for (const bool shared : {false, true}) {
                const TensorView va = test::view(a, {batch, heads, ta ? k : m, ta ? m : k});
                const TensorView vb = shared
                                          ? test::view(b, {tb ? n : k, tb ? k : n})
                                          : test::view(b, {batch, heads, tb ? n : k, tb ? k : n});
                const auto c = run_matmul<T>(va, vb, {batch, heads, m, n}, ta, tb, 1);
                for (Index i = 0; i < batch * heads; ++i) {
                    const auto want = test::matmul(a.data() + i * m * k, ta ? 1 : k, ta ? m : 1,
                                                   b.data() + (shared ? 0 : i * k * n), tb ? 1 : n,
                                                   tb ? k : 1, m, n, k);
                    for (Index j = 0; j < m * n; ++j)
                        ASSERT_NEAR(c[size_t(i * m * n + j)], want[size_t(j)],
                                    test::sum_tolerance<T>(k));
                }
                for (int threads : {2, 3})
                    ASSERT_TRUE(
                        same_bits(c, run_matmul<T>(va, vb, {batch, heads, m, n}, ta, tb, threads)));
            }
        }
    }
}

TYPED_TEST(Gemm, MatmulSlices) {
    using T = TypeParam;
    for (Index m : {1, 2, 17, 64, 101}) {
        const Index n = 21, k = 300;
        const std::vector<T> a = random_values<T>(m * k, 6), b = random_values<T>(n * k, 7);
        for (const bool ta : {false, true}) {
            const TensorView va = ta ? test::view(a, {k, m}) : test::view(a, {m, k});
            const auto c = run_matmul<T>(va, test::view(b, {k, n}), {m, n}, ta, false, 1);
            for (int threads : {2, 3})
                ASSERT_TRUE(same_bits(
                    c, run_matmul<T>(va, test::view(b, {k, n}), {m, n}, ta, false, threads)));
        }
    }
}

TEST(MatmulCheck, RefusesWrongShapes) {
    const std::vector<float> v(64);
    EXPECT_THROW(
        run_matmul<float>(test::view(v, {2, 3}), test::view(v, {4, 5}), {2, 5}, false, false, 1),
        Error);
    EXPECT_THROW(
        run_matmul<float>(test::view(v, {2, 3}), test::view(v, {3, 5}), {2, 4}, false, false, 1),
        Error);
    EXPECT_THROW(run_matmul<float>(test::view(v, {3}), test::view(v, {3, 5}), {5}, false, false, 1),
                 Error);
    EXPECT_THROW(run_matmul<float>(test::view(v, {2, 2, 3}), test::view(v, {3, 3, 5}), {2, 2, 5},
                                   false, false, 1),
                 Error);
}

}  // namespace
}  // namespace fastprop
