#pragma once
/// @file
/// @brief Runs an op of the table as a team would, one rank after the other.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "program/op.h"
#include "reference.h"

namespace fastprop::test {

/// Checks the call, then runs every rank's slice, the last one first: a slice that read what
/// another wrote would show. An absent operand is a default TensorView.
inline void run_op(const std::string& name, const std::vector<TensorView>& in,
                   const std::vector<TensorView>& out, const std::vector<double>& attrs,
                   int threads = 1, const StepContext* step = nullptr, bool by_columns = false) {
    const Call call{in.data(),    static_cast<int>(in.size()),
                    out.data(),   static_cast<int>(out.size()),
                    attrs.data(), step};
    const OpEntry& op = find_op(name);
    check_call(op, call);
    const Kernel kernel = select_kernel(op, call);
    for (int rank = threads - 1; rank >= 0; --rank) {
        const Team team(rank, threads, nullptr);
        kernel(call, by_columns ? team.by_columns() : team);
    }
}

using Shape = std::vector<Index>;

inline Index size_of(const Shape& shape) {
    Index n = 1;
    for (const Index extent : shape) n *= extent;
    return n;
}

template <class T>
TensorView view_of(const std::vector<T>& values, const Shape& shape) {
    TensorView v = view(values, {});
    for (const Index extent : shape) v.shape[v.rank++] = extent;
    return v;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// |got - want| <= tolerance (1 + |want|) for every element.
template <class T>
void expect_close(const std::vector<T>& got, const std::vector<double>& want, double tolerance) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << i;
}

}  // namespace fastprop::test
