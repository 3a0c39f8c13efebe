#include "kernels/scan.h"

#include <algorithm>
#include <numeric>

namespace fastprop {

namespace {

/// Columns that are summed at a time: the running sums stay in L1.
constexpr Index kColumns = 512;

/// a before b in ascending order; NaN is the largest, and equal to itself.
template <class T>
bool ascends(T a, T b) {
    return a < b || (a == a && b != b);
}

}  // namespace

template <class T>
void cumulative_sum(const T* x, T* y, Range outer, Index extent, Range own, Index inner,
                    bool reverse) {
    if (own.empty()) return;
    T sums[kColumns];
    const Index steps = reverse ? extent - own.begin : own.end;
    for (Index o = outer.begin; o < outer.end; ++o) {
        for (Index c = 0; c < inner; c += kColumns) {
            const Index n = std::min(kColumns, inner - c);
            std::fill(sums, sums + n, T(0));
            for (Index s = 0; s < steps; ++s) {
                const Index k = reverse ? extent - 1 - s : s;
                const Index at = (o * extent + k) * inner + c;
                // The first one as it is: 0 + -0 would be 0.
                for (Index i = 0; i < n; ++i) sums[i] = s == 0 ? x[at + i] : sums[i] + x[at + i];
                if (k >= own.begin && k < own.end) std::copy(sums, sums + n, y + at);
            }
        }
    }
}

template <class T>
void argsort_rows(const T* x, std::int64_t* y, Index rows, Index n, bool descending) {
    for (Index r = 0; r < rows; ++r, x += n, y += n) {
        std::iota(y, y + n, std::int64_t{0});
        // The index decides between equal ones: a stable order without the memory that
        // std::stable_sort asks for.
        std::sort(y, y + n, [x, descending](std::int64_t a, std::int64_t b) {
            const T first = descending ? x[b] : x[a];
            const T second = descending ? x[a] : x[b];
            if (ascends(first, second)) return true;
            return !ascends(second, first) && a < b;
        });
    }
}

template void cumulative_sum<float>(const float*, float*, Range, Index, Range, Index, bool);
template void cumulative_sum<double>(const double*, double*, Range, Index, Range, Index, bool);
template void argsort_rows<float>(const float*, std::int64_t*, Index, Index, bool);
template void argsort_rows<double>(const double*, std::int64_t*, Index, Index, bool);
template void argsort_rows<std::int64_t>(const std::int64_t*, std::int64_t*, Index, Index, bool);
template void cumulative_sum<std::uint64_t>(const std::uint64_t*, std::uint64_t*, Range, Index,
                                            Range, Index, bool);

}  // namespace fastprop
