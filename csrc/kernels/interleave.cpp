#include "kernels/interleave.h"

#include <algorithm>
#include <cstdint>

namespace fastprop {
namespace {

/// Rows of a block, whose lines in y stay in L1 while all columns pass by, and columns that are
/// read side by side.
constexpr Index kRows = 64;
constexpr Index kColumns = 8;

}  // namespace

template <class U>
void interleave(const U* const* columns, Index count, Index rows, U* y) {
    for (Index r0 = 0; r0 < rows; r0 += kRows) {
        const Index r1 = std::min(rows, r0 + kRows);
        Index c = 0;
        for (; c + kColumns <= count; c += kColumns) {
            const U* x[kColumns];
            std::copy(columns + c, columns + c + kColumns, x);
            for (Index r = r0; r < r1; ++r) {
                U* to = y + r * count + c;
                for (Index i = 0; i < kColumns; ++i) to[i] = x[i][r];
            }
        }
        for (; c < count; ++c) {
            for (Index r = r0; r < r1; ++r) y[r * count + c] = columns[c][r];
        }
    }
}

#define FASTPROP_INTERLEAVE(U) template void interleave<U>(const U* const*, Index, Index, U*);

FASTPROP_INTERLEAVE(std::uint8_t)
FASTPROP_INTERLEAVE(std::uint16_t)
FASTPROP_INTERLEAVE(std::uint32_t)
FASTPROP_INTERLEAVE(std::uint64_t)

#undef FASTPROP_INTERLEAVE

}  // namespace fastprop
