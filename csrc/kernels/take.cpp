#include "kernels/take.h"

#include <algorithm>

namespace fastprop {

namespace {

bool inside(std::int64_t index, Range range) { return index >= range.begin && index < range.end; }

/// Zeros the rows of y that the ranges name.
template <class T>
void clear(T* y, Range outer, Index extent, Range own, Index inner) {
    for (Index o = outer.begin; o < outer.end; ++o) {
        T* block = y + o * extent * inner;
        std::fill(block + own.begin * inner, block + own.end * inner, T(0));
    }
}

}  // namespace

template <class U>
void take(const U* x, const std::int64_t* index, U* y, Index extent, Index count, Index inner,
          Range blocks) {
    for (Index b = blocks.begin; b < blocks.end; ++b) {
        const std::int64_t chosen = index[b % count];
        U* to = y + b * inner;
        if (inside(chosen, {0, extent})) {
            const U* from = x + (b / count * extent + static_cast<Index>(chosen)) * inner;
            std::copy(from, from + inner, to);
        } else {
            std::fill(to, to + inner, U(0));
        }
    }
}

template <class T>
void take_add(const T* dy, const std::int64_t* index, T* y, Range outer, Index extent, Range own,
              Index count, Index inner) {
    clear(y, outer, extent, own, inner);
    for (Index o = outer.begin; o < outer.end; ++o) {
        for (Index k = 0; k < count; ++k) {
            if (!inside(index[k], own)) continue;
            const T* from = dy + (o * count + k) * inner;
            T* to = y + (o * extent + static_cast<Index>(index[k])) * inner;
            for (Index i = 0; i < inner; ++i) to[i] += from[i];
        }
    }
}

template <class U>
void gather(const U* x, const std::int64_t* index, U* y, Index extent, Index count, Index inner,
            Range elements) {
    const Index block = count * inner;
    for (Index e = elements.begin; e < elements.end; ++e) {
        const std::int64_t chosen = index[e];
        const Index from = (e / block * extent + static_cast<Index>(chosen)) * inner + e % inner;
        y[e] = inside(chosen, {0, extent}) ? x[from] : U(0);
    }
}

template <class T>
void scatter_add(const T* dy, const std::int64_t* index, T* y, Range outer, Index extent, Range own,
                 Index count, Index inner) {
    clear(y, outer, extent, own, inner);
    for (Index o = outer.begin; o < outer.end; ++o) {
        for (Index k = 0; k < count; ++k) {
            const Index row = (o * count + k) * inner;
            for (Index i = 0; i < inner; ++i) {
                const std::int64_t chosen = index[row + i];
                if (!inside(chosen, own)) continue;
                y[(o * extent + static_cast<Index>(chosen)) * inner + i] += dy[row + i];
            }
        }
    }
}

#define FASTPROP_TAKE(U)                                                                  \
    template void take<U>(const U*, const std::int64_t*, U*, Index, Index, Index, Range); \
    template void gather<U>(const U*, const std::int64_t*, U*, Index, Index, Index, Range);
#define FASTPROP_TAKE_ADD(T)                                                                    \
    template void take_add<T>(const T*, const std::int64_t*, T*, Range, Index, Range, Index,    \
                              Index);                                                           \
    template void scatter_add<T>(const T*, const std::int64_t*, T*, Range, Index, Range, Index, \
                                 Index);

FASTPROP_TAKE(std::uint8_t)
FASTPROP_TAKE(std::uint32_t)
FASTPROP_TAKE(std::uint64_t)
FASTPROP_TAKE_ADD(float)
FASTPROP_TAKE_ADD(double)
FASTPROP_TAKE_ADD(std::uint64_t)

}  // namespace fastprop
