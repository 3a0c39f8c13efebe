// The dense layer: packed and unpacked, every epilogue, every team size.

#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/pack.h"
#include "op_runner.h"
#include "reference.h"

namespace fastprop {
namespace {

using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;

const Index kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100};
const Activation kKinds[] = {Activation::identity, Activation::relu, Activation::tanh,
                             Activation::silu};

template <class T>
void expect_near(const std::vector<T>& got, const std::vector<double>& want, Index terms) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], want[i], test::sum_tolerance<T>(terms)) << i;
}

/// One layer's operands, packed as well.
template <class T>
struct Layer {
    Index rows, in, out;
    std::vector<T> x, w, b, dz, h, wp, wtp, dzp;

    Layer(Index r, Index i, Index o) : rows(r), in(i), out(o) {
        x = random_values<T>(rows * in, 1);
        w = random_values<T>(in * out, 2);
        b = random_values<T>(out, 3);
        dz = random_values<T>(rows * out, 4);
        h = random_values<T>(rows * in, 5);
        wp = nan_values<T>(packed_size<T>(in, out));
        wtp = nan_values<T>(packed_size<T>(out, in));
        dzp = nan_values<T>(packed_size<T>(rows, out));
        run_op("pack_weights", {vw()}, {test::view(wp, {Index(wp.size())})}, {}, 3);
        run_op("pack_weights_transposed", {vw()}, {test::view(wtp, {Index(wtp.size())})}, {}, 3);
        run_op("pack_rows", {vdz()}, {test::view(dzp, {Index(dzp.size())})}, {}, 3);
    }

    TensorView vx() const { return test::view(x, {rows, in}); }
    TensorView vw() const { return test::view(w, {in, out}); }
    TensorView vb() const { return test::view(b, {out}); }
    TensorView vdz() const { return test::view(dz, {rows, out}); }
    TensorView vh() const { return test::view(h, {rows, in}); }
};

template <class T>
class Dense : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Dense, Types);

/// x W + b, then f by the activation's own kernel.
template <class T>
std::pair<std::vector<T>, std::vector<T>> forward(const Layer<T>& l, Activation kind, bool bias,
                                                  bool want_z, bool packed, int threads,
                                                  bool by_columns = false) {
    std::vector<T> y = nan_values<T>(l.rows * l.out), z = y;
    std::vector<TensorView> in = {l.vx(), packed ? test::view(l.wp, {Index(l.wp.size())}) : l.vw()};
    std::vector<TensorView> out = {test::view(y, {l.rows, l.out})};
    if (bias) in.push_back(l.vb());
    if (want_z) out.push_back(test::view(z, {l.rows, l.out}));
    run_op(packed ? "dense_packed" : "dense", in, out, {double(kind), 1, 20, double(l.out)},
           threads, nullptr, by_columns);
    return {y, z};
}

template <class T>
void check_forward(const Layer<T>& l) {
    SCOPED_TRACE(testing::Message() << l.rows << " x " << l.in << " x " << l.out);
    for (const bool bias : {false, true}) {
        const auto [sum, unused] = forward(l, Activation::identity, bias, false, false, 1);
        auto want = test::matmul(l.x.data(), l.in, 1, l.w.data(), l.out, 1, l.rows, l.out, l.in);
        for (std::size_t i = 0; bias && i < want.size(); ++i) want[i] += l.b[i % size_t(l.out)];
        ASSERT_NO_FATAL_FAILURE(expect_near(sum, want, l.in));
        for (const Activation kind : kKinds) {
            std::vector<T> f(sum.size());
            activation_forward(kind, T(1), T(20), sum.data(), f.data(), Index(sum.size()));
            for (const bool packed : {false, true}) {
                const auto [y, z] = forward(l, kind, bias, true, packed, 1);
                ASSERT_TRUE(same_bits(z, sum));
                ASSERT_TRUE(same_bits(y, f)) << "activation " << int(kind);
                ASSERT_TRUE(same_bits(y, forward(l, kind, bias, false, packed, 2).first));
                ASSERT_TRUE(same_bits(y, forward(l, kind, bias, false, packed, 3).first));
            }
            for (const int threads : {1, 2, 3, 8}) {
                const auto [y, z] = forward(l, kind, bias, true, false, threads, true);
                ASSERT_TRUE(same_bits(z, sum)) << threads;
                ASSERT_TRUE(same_bits(y, f)) << threads;
            }
        }
    }
}

template <class T>
std::vector<T> backward_data(const Layer<T>& l, Activation kind, bool packed, int threads,
                             bool in_place = false, bool by_columns = false) {
    std::vector<T> dx = in_place ? l.h : nan_values<T>(l.rows * l.in);
    std::vector<TensorView> in = {l.vdz(),
                                  packed ? test::view(l.wtp, {Index(l.wtp.size())}) : l.vw()};
    const TensorView to = test::view(dx, {l.rows, l.in});
    if (kind != Activation::identity) in.push_back(in_place ? to : l.vh());
    run_op(packed ? "dense_backward_data_packed" : "dense_backward_data", in, {to},
           {double(kind), 1, 20, double(l.in)}, threads, nullptr, by_columns);
    return dx;
}

template <class T>
void check_backward_data(const Layer<T>& l) {
    SCOPED_TRACE(testing::Message() << l.rows << " x " << l.in << " x " << l.out);
    const std::vector<T> sum = backward_data(l, Activation::identity, false, 1);
    const auto want =
        test::matmul(l.dz.data(), l.out, 1, l.w.data(), 1, l.out, l.rows, l.in, l.out);
    ASSERT_NO_FATAL_FAILURE(expect_near(sum, want, l.out));
    for (const Activation kind : kKinds) {
        std::vector<T> f(sum.size());
        activation_backward(kind, T(1), T(20), l.h.data(), sum.data(), f.data(), Index(f.size()));
        for (const bool packed : {false, true}) {
            for (int threads : {1, 2, 3}) {
                ASSERT_TRUE(same_bits(f, backward_data(l, kind, packed, threads))) << int(kind);
                ASSERT_TRUE(same_bits(f, backward_data(l, kind, packed, threads, true)))
                    << int(kind);
            }
        }
        for (const int threads : {1, 2, 3, 8}) {
            for (const bool in_place : {false, true})
                ASSERT_TRUE(same_bits(f, backward_data(l, kind, false, threads, in_place, true)))
                    << int(kind);
        }
    }
}

template <class T>
std::vector<T> backward_weights(const Layer<T>& l, bool packed, int threads) {
    std::vector<T> dw = nan_values<T>(l.in * l.out);
    const TensorView dz = packed ? test::view(l.dzp, {Index(l.dzp.size())}) : l.vdz();
    run_op(packed ? "dense_backward_weights_packed" : "dense_backward_weights", {l.vx(), dz},
           {test::view(dw, {l.in, l.out})}, {double(l.out)}, threads);
    return dw;
}

template <class T>
void check_backward_weights(const Layer<T>& l) {
    SCOPED_TRACE(testing::Message() << l.rows << " x " << l.in << " x " << l.out);
    const std::vector<T> dw = backward_weights(l, false, 1);
    const auto want = test::matmul(l.x.data(), 1, l.in, l.dz.data(), l.out, 1, l.in, l.out, l.rows);
    ASSERT_NO_FATAL_FAILURE(expect_near(dw, want, l.rows));
    for (const bool packed : {false, true}) {
        for (int threads : {1, 2, 3})
            ASSERT_TRUE(same_bits(dw, backward_weights(l, packed, threads)));
    }
}

template <class T>
void check_pack_rows_by_columns(const Layer<T>& l) {
    for (int threads : {1, 2, 3, 8}) {
        std::vector<T> dzp = nan_values<T>(Index(l.dzp.size()));
        run_op("pack_rows", {l.vdz()}, {test::view(dzp, {Index(dzp.size())})}, {}, threads, nullptr,
               true);
        ASSERT_TRUE(same_bits(dzp, l.dzp)) << l.rows << " x " << l.out;
    }
}

template <class T>
void check_backward_bias(const Layer<T>& l) {
    std::vector<T> want(std::size_t(l.out), T(0));
    for (std::size_t i = 0; i < l.dz.size(); ++i) want[i % size_t(l.out)] += l.dz[i];
    for (int threads : {1, 2, 3}) {
        std::vector<T> db = nan_values<T>(l.out);
        run_op("dense_backward_bias", {l.vdz()}, {test::view(db, {l.out})}, {}, threads);
        ASSERT_TRUE(same_bits(db, want)) << l.rows << " x " << l.out;
    }
}

template <class T>
void check_all(Index rows, Index in, Index out) {
    const Layer<T> l(rows, in, out);
    ASSERT_NO_FATAL_FAILURE(check_forward(l));
    ASSERT_NO_FATAL_FAILURE(check_backward_data(l));
    ASSERT_NO_FATAL_FAILURE(check_backward_weights(l));
    ASSERT_NO_FATAL_FAILURE(check_backward_bias(l));
    ASSERT_NO_FATAL_FAILURE(check_pack_rows_by_columns(l));
}

TYPED_TEST(Dense, OddSizes) {
    for (Index rows : {1, 2, 7, 33})
        for (Index in : kSizes)
            for (Index out : kSizes) ASSERT_NO_FATAL_FAILURE(check_all<TypeParam>(rows, in, out));
}

TYPED_TEST(Dense, SeveralBlocks) {
    check_all<TypeParam>(300, 64, 40);
    check_all<TypeParam>(70, 300, 520);
    check_all<TypeParam>(20, 600, 10);
    check_all<TypeParam>(530, 4, 1);
    check_all<TypeParam>(700, 400, 3);  // of h, two blocks are copied where dx takes its place
    check_all<TypeParam>(258, 1100, 515);
}

TYPED_TEST(Dense, EmptySizes) {
    check_all<TypeParam>(0, 3, 5);
    check_all<TypeParam>(5, 0, 3);
    check_all<TypeParam>(5, 3, 0);
}

// Leading axes are rows; slices are over the first.
TYPED_TEST(Dense, LeadingAxes) {
    using T = TypeParam;
    const Index batch = 5, steps = 3, in = 9, out = 20;
    const Layer<T> l(batch * steps, in, out);
    const std::vector<T> want = forward(l, Activation::relu, true, false, false, 1).first;
    const std::vector<T> want_dx = backward_data(l, Activation::tanh, false, 1);
    for (int threads : {1, 2, 3}) {
        std::vector<T> y = nan_values<T>(l.rows * out), dx = nan_values<T>(l.rows * in);
        std::vector<T> dw = nan_values<T>(in * out), dzp = nan_values<T>(Index(l.dzp.size()));
        const TensorView x = test::view(l.x, {batch, steps, in}),
                         h = test::view(l.h, {batch, steps, in});
        const TensorView dz = test::view(l.dz, {batch, steps, out});
        run_op("dense", {x, l.vw(), l.vb()}, {test::view(y, {batch, steps, out})},
               {double(Activation::relu), 0, 0}, threads);
        ASSERT_TRUE(same_bits(y, want));
        run_op("dense_backward_data", {dz, l.vw(), h}, {test::view(dx, {batch, steps, in})},
               {double(Activation::tanh), 0, 0}, threads);
        ASSERT_TRUE(same_bits(dx, want_dx));
        run_op("dense_backward_weights", {x, dz}, {test::view(dw, {in, out})}, {}, threads);
        ASSERT_TRUE(same_bits(dw, backward_weights(l, false, 1)));
        run_op("pack_rows", {dz}, {test::view(dzp, {Index(dzp.size())})}, {}, threads);
        ASSERT_TRUE(same_bits(dzp, l.dzp));
    }
}

// What relu does to special values is the same in registers and in its own kernel.
TYPED_TEST(Dense, ReluOfSpecialValues) {
    using T = TypeParam;
    const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    const std::vector<T> special = {nan, inf, -inf, T(0), -T(0), T(1), -T(1)};
    Layer<T> l(Index(special.size()), 1, 20);
    l.x = special;
    std::fill(l.w.begin(), l.w.end(), T(1));
    std::vector<T> f(std::size_t(l.rows * l.out));
    const auto sum = forward(l, Activation::identity, false, false, false, 1).first;
    activation_forward(Activation::relu, T(0), T(0), sum.data(), f.data(), Index(f.size()));
    ASSERT_TRUE(same_bits(f, forward(l, Activation::relu, false, false, false, 1).first));

    Layer<T> back(Index(special.size()), 17, 1);
    for (std::size_t i = 0; i < back.h.size(); ++i) back.h[i] = special[i % special.size()];
    back.dz = special;
    std::fill(back.w.begin(), back.w.end(), T(1));
    std::vector<T> df(back.h.size());
    const auto dsum = backward_data(back, Activation::identity, false, 1);
    activation_backward(Activation::relu, T(0), T(0), back.h.data(), dsum.data(), df.data(),
                        Index(df.size()));
    ASSERT_TRUE(same_bits(df, backward_data(back, Activation::relu, false, 1)));
}

TYPED_TEST(Dense, ChecksRefuse) {
    using T = TypeParam;
    const Layer<T> l(4, 3, 5);
    std::vector<T> y = nan_values<T>(20), small = nan_values<T>(2);
    const std::vector<double> identity = {0, 0, 0, 5};
    EXPECT_THROW(run_op("dense", {l.vx(), l.vdz()}, {test::view(y, {4, 5})}, identity, 1), Error);
    EXPECT_THROW(run_op("dense", {l.vx(), l.vw()}, {test::view(y, {5, 4})}, identity, 1), Error);
    EXPECT_THROW(run_op("dense", {l.vx(), l.vw(), test::view(small, {2})}, {test::view(y, {4, 5})},
                        identity, 1),
                 Error);
    EXPECT_THROW(run_op("dense", {l.vx(), l.vw()}, {test::view(y, {4, 5})}, {99, 0, 0}, 1), Error);
    EXPECT_THROW(run_op("dense_packed", {l.vx(), test::view(small, {2})}, {test::view(y, {4, 5})},
                        identity, 1),
                 Error);
    EXPECT_THROW(run_op("pack_weights", {l.vw()}, {test::view(small, {2})}, {}, 1), Error);
    EXPECT_THROW(run_op("dense_backward_bias", {l.vdz()}, {test::view(small, {2})}, {}, 1), Error);
    EXPECT_THROW(run_op("dense_backward_weights", {l.vx(), l.vw()}, {test::view(y, {3, 5})}, {}, 1),
                 Error);
}

}  // namespace
}  // namespace fastprop
