// A lane's result does not depend on its neighbours. How accurate the functions are is the matter
// of test_accuracy.cpp.

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "kernels/trigonometry.h"

namespace fastprop {
namespace {

template <class T>
class Math : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
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
