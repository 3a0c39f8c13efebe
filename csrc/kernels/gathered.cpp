#include "kernels/gathered.h"

#include <algorithm>

#include "core/prefetch.h"
#include "kernels/gemv.h"

namespace fastprop {
namespace {

constexpr Index kLine = 64;

/// Asks for the same line of some later rows, once a line.
template <class T, int kRows>
struct LinesAhead {
    const T* const* rows;

    void operator()(Index i) const {
        if (i % (kLine / Index{sizeof(T)}) != 0) return;
        FASTPROP_UNROLL
        for (int r = 0; r < kRows; ++r) prefetch_read(rows[r] + i);
    }
};

template <class T, int kGroups>
void forward_group(const GatheredRows<T>& x, Index i, const T* w, T* y, Index rows, Index last) {
    constexpr int count = kGroups * Simd<T>::width;
    const T *from[count], *later[count];
    for (int r = 0; r < count; ++r) {
        from[r] = x[std::min(i + r, rows - 1)];
        later[r] = x[std::clamp(i + r - count, Index{0}, last)];
    }
    gemv_rows<T, kGroups>(from, w, 1, y + i, rows - i, x.columns, LinesAhead<T, count>{later});
}

/// dw += x^T dz for kRows rows, element by element and row after row; `first`: dw holds nothing
/// yet.
template <class T, int kRows>
void add_rows(const GatheredRows<T>& x, Index i, const T* dz, T* dw, Range slice, bool first) {
    using S = Simd<T>;
    using Packet = typename S::Packet;
    const T* from[kRows];
    Packet right[kRows];
    FASTPROP_UNROLL
    for (int r = 0; r < kRows; ++r) {
        from[r] = x[i + r];
        right[r] = S::set(dz[i + r]);
    }
    Index j = slice.begin;
    for (; j + S::width <= slice.end; j += S::width) {
        Packet sum = first ? S::set(T(0)) : S::load(dw + j);
        FASTPROP_UNROLL
        for (int r = 0; r < kRows; ++r) sum = pk::pmadd(S::load(from[r] + j), right[r], sum);
        S::store(dw + j, sum);
    }
    if (j == slice.end) return;
    const Index n = slice.end - j;
    Packet sum = first ? S::set(T(0)) : S::load_partial(dw + j, n);
    for (int r = 0; r < kRows; ++r) sum = pk::pmadd(S::load_partial(from[r] + j, n), right[r], sum);
    S::store_partial(dw + j, sum, n);
}

}  // namespace

template <class T>
void dense_forward_gathered(const GatheredRows<T>& x, const T* w, const T* b, T* y, T* z,
                            Index rows, const ActivationSpec<T>& f) {
    constexpr Index width = Simd<T>::width;
    if (rows <= 0 || x.source_rows <= 0) return;
    // From the last rows to the first, with which dW begins.
    Index i = round_up(rows, 2 * width);
    const Index last = rows - 1;
    while (i > 0) {
        i -= 2 * width;
        if (rows - i > width)
            forward_group<T, 2>(x, i, w, y, rows, last);
        else
            forward_group<T, 1>(x, i, w, y, rows, last);
    }
    GemmEpilogue<T> e;
    e.z = z;
    e.activation = f.kind;
    e.p0 = f.p0;
    e.p1 = f.p1;
    finish_sums(y, 0, rows, b, true, e);
}

template <class T>
void dense_backward_weights_gathered(const GatheredRows<T>& x, const T* dz, T* dw, Index rows,
                                     Range slice) {
    constexpr int block = 8;
    if (rows <= 0 || x.source_rows <= 0) {
        std::fill(dw + slice.begin, dw + std::max(slice.begin, slice.end), T(0));
        return;
    }
    Index i = 0;
    for (; i + block <= rows; i += block) add_rows<T, block>(x, i, dz, dw, slice, i == 0);
    for (; i < rows; ++i) add_rows<T, 1>(x, i, dz, dw, slice, i == 0);
}

#define FASTPROP_GATHERED(T)                                                                   \
    template void dense_forward_gathered(const GatheredRows<T>&, const T*, const T*, T*, T*,   \
                                         Index, const ActivationSpec<T>&);                     \
    template void dense_backward_weights_gathered(const GatheredRows<T>&, const T*, T*, Index, \
                                                  Range);
FASTPROP_GATHERED(float)
FASTPROP_GATHERED(double)
#undef FASTPROP_GATHERED

}  // namespace fastprop
