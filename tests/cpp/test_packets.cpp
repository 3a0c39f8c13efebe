// Packets, and that a lane's result does not depend on its neighbours. How accurate the functions
// are is the matter of test_accuracy.cpp.

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "core/packet.h"
#include "kernels/trigonometry.h"

namespace fastprop {
namespace {

using Types = ::testing::Types<float, double>;

template <class T>
class Packets : public ::testing::Test {};
TYPED_TEST_SUITE(Packets, Types);

TYPED_TEST(Packets, PartialLoadFillsWithZeros) {
    using S = Simd<TypeParam>;
    std::vector<TypeParam> source(S::width);
    for (int i = 0; i < S::width; ++i) source[static_cast<std::size_t>(i)] = TypeParam(i + 1);
    for (int n = 1; n <= S::width; ++n) {
        // A vector of n elements, so that AddressSanitizer sees a read past them.
        const std::vector<TypeParam> head(source.begin(), source.begin() + n);
        alignas(64) TypeParam lanes[S::width];
        S::store(lanes, S::load_partial(head.data(), n));
        for (int i = 0; i < S::width; ++i) EXPECT_EQ(lanes[i], i < n ? TypeParam(i + 1) : 0);
    }
}

TYPED_TEST(Packets, PartialStoreLeavesTheRest) {
    using S = Simd<TypeParam>;
    for (int n = 1; n <= S::width; ++n) {
        std::vector<TypeParam> target(S::width, TypeParam(7));
        S::store_partial(target.data(), S::set(TypeParam(2)), n);
        for (int i = 0; i < S::width; ++i)
            EXPECT_EQ(target[static_cast<std::size_t>(i)], i < n ? TypeParam(2) : TypeParam(7));
    }
}

TYPED_TEST(Packets, BitsDoNotDependOnWhereASliceStarts) {
    namespace ei = Eigen::internal;
    const auto f = [](const auto& v) { return ei::pexp(v); };
    constexpr Index n = 67;
    std::vector<TypeParam> x(n), whole(n), pieces(n);
    for (Index i = 0; i < n; ++i)
        x[static_cast<std::size_t>(i)] = TypeParam(0.37) * TypeParam(i - 33);
    map_packets(x.data(), whole.data(), n, f);
    for (Index cut = 0; cut <= n; ++cut) {
        map_packets(x.data(), pieces.data(), cut, f);
        map_packets(x.data() + cut, pieces.data() + cut, n - cut, f);
        ASSERT_EQ(pieces, whole) << "cut at " << cut;
    }
}

template <class T>
class Math : public ::testing::Test {};
TYPED_TEST_SUITE(Math, Types);

TYPED_TEST(Math, lanes_do_not_depend_on_their_neighbours) {
    using T = TypeParam;
    using S = Simd<T>;
    const T inf = std::numeric_limits<T>::infinity();
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const T values[] = {T(0.3), T(-2), T(1e-30), T(5e7), inf, nan, T(-700), T(1)};
    for (const T value : values) {
        T alone[S::width];
        S::store(alone, sin_packet<T>(S::set(value)));
        for (const T other : values) {
            T lanes[S::width];
            for (int i = 0; i < S::width; ++i) lanes[i] = i % 2 == 0 ? value : other;
            S::store(lanes, sin_packet<T>(S::load(lanes)));
            EXPECT_EQ(0, std::memcmp(&lanes[0], &alone[0], sizeof(T))) << value << " by " << other;
        }
    }
}

}  // namespace
}  // namespace fastprop
