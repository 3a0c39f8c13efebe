// Every function of one number against a wider type: the largest error is what the documentation
// says (docs/numerics.md), and NaN, infinities, signs and saturation are right. Over every 509th
// float and all special points; fastprop_ulp takes all floats.

#include <gtest/gtest.h>

#include "accuracy.h"

namespace fastprop::test {
namespace {

class AccuracyOf : public ::testing::TestWithParam<Function> {};

void expect(const Function& f, const Accuracy& found, double bound) {
    EXPECT_LE(found.ulp, bound) << f.name << " at " << found.at;
    EXPECT_EQ(found.wrong, 0) << f.name << " at " << found.wrong_at;
}

TEST_P(AccuracyOf, floats) {
    const Function& f = GetParam();
    expect(f, sweep_special<float>(f), f.ulp32);
    expect(f, sweep_random<float>(f, 100000), f.ulp32);
    expect(f, sweep_patterns(f, 0, std::uint64_t{1} << 32, 509, true), f.ulp32);
    // Screened by nothing: kernels for the two types could be wrong together.
    expect(f, sweep_patterns(f, 0, std::uint64_t{1} << 32, 9973), f.ulp32);
}

TEST_P(AccuracyOf, doubles) {
    const Function& f = GetParam();
    expect(f, sweep_special<double>(f), f.ulp64);
    expect(f, sweep_random<double>(f, 100000), f.ulp64);
}

std::string test_name(const ::testing::TestParamInfo<Function>& info) {
    std::string name = info.param.name;
    if (name.back() == '\'') name.replace(name.size() - 1, 1, "_derivative");
    return name;
}

INSTANTIATE_TEST_SUITE_P(Functions, AccuracyOf, ::testing::ValuesIn(functions()), test_name);

}  // namespace
}  // namespace fastprop::test
