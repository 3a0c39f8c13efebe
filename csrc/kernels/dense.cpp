#include "kernels/dense.h"

#include <algorithm>

#include "core/aligned_buffer.h"
#include "kernels/gemm.h"
#include "kernels/gemm_tile.h"
#include "kernels/pack.h"

namespace fastprop {
namespace {

template <class T>
GemmRight<T> panels(const T* packed, Index k) {
    return {packed, k * panel_width<T>(), GemmLayout::panels};
}

template <class T>
GemmEpilogue<T> forward_epilogue(const T* b, T* z, const ActivationSpec<T>& f) {
    return {b, z, f.kind, f.p0, f.p1};
}

template <class T>
GemmEpilogue<T> backward_epilogue(const T* h, const ActivationSpec<T>& f) {
    GemmEpilogue<T> e;
    if (h == nullptr) return e;
    e.activation = f.kind;
    e.p0 = f.p0;
    e.p1 = f.p1;
    e.h = h;
    return e;
}

/// Bytes of h, and rows of it at least, that are copied at a time where dx overwrites them too
/// soon.
constexpr Index kCopyBytes = 1024 * 1024;
constexpr Index kCopyRows = 256;

/// `columns` columns of dx; its rows, those of h and of the copy are `in` apart.
template <class T>
void backward_data(const T* dz, const GemmRight<T>& wt, const T* h, T* dx, Index rows, Index in,
                   Index out, Index columns, const ActivationSpec<T>& f) {
    if (h != dx || gemm_may_overwrite_h<T>(f.kind, rows, columns, out)) {
        gemm<T>({dz, out}, wt, dx, in, rows, columns, out, backward_epilogue(h, f));
        return;
    }
    const Index row_bytes = std::max<Index>(in, 1) * Index{sizeof(T)};
    const Index block = std::min(rows, std::max(kCopyRows, kCopyBytes / row_bytes));
    for (Index i = 0; i < rows; i += block) {
        const Index count = std::min(block, rows - i);
        T* copy = static_cast<T*>(thread_scratch(static_cast<std::size_t>(count * row_bytes), 1));
        for (Index r = 0; r < count; ++r) std::copy_n(h + (i + r) * in, columns, copy + r * in);
        gemm<T>({dz + i * out, out}, wt, dx + i * in, in, count, columns, out,
                backward_epilogue<T>(copy, f));
    }
}

/// kPackets packets of columns, all rows.
template <class T, int kPackets>
void sum_columns(const T* dz, T* db, Index rows, Index stride) {
    using S = Simd<T>;
    typename S::Packet sums[kPackets];
    FASTPROP_UNROLL
    for (int v = 0; v < kPackets; ++v) sums[v] = S::set(T(0));
    for (Index i = 0; i < rows; ++i, dz += stride) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) sums[v] = pk::padd(sums[v], S::load(dz + v * S::width));
    }
    FASTPROP_UNROLL
    for (int v = 0; v < kPackets; ++v) S::store(db + v * S::width, sums[v]);
}

/// The last n < width columns. Rows that `readable` elements allow are read as whole packets, which
/// reach into the next row; what the other lanes add up to is not stored.
template <class T>
void sum_columns_partial(const T* dz, T* db, Index rows, Index stride, Index n, Index readable) {
    using S = Simd<T>;
    const Index whole =
        readable < S::width ? 0 : std::min(rows, (readable - S::width) / stride + 1);
    typename S::Packet sum = S::set(T(0));
    Index i = 0;
    for (; i < whole; ++i) sum = pk::padd(sum, S::load(dz + i * stride));
    for (; i < rows; ++i) sum = pk::padd(sum, tile::load_lanes(dz + i * stride, n));
    tile::store_lanes(db, sum, n);
}

}  // namespace

template <class T>
void dense_forward(const T* x, const T* w, const T* b, T* y, T* z, Index rows, Index in, Index out,
                   const ActivationSpec<T>& f) {
    gemm<T>({x, in}, {w, out}, y, out, rows, out, in, forward_epilogue(b, z, f));
}

template <class T>
void dense_forward_columns(const T* x, const T* w, const T* b, T* y, T* z, Index rows, Index in,
                           Index out, Range columns, const ActivationSpec<T>& f) {
    const Index j = columns.begin;
    gemm<T>({x, in}, {w + j, out}, y + j, out, rows, columns.size(), in,
            forward_epilogue(b ? b + j : b, z ? z + j : z, f));
}

template <class T>
void dense_forward_packed(const T* x, const T* wp, const T* b, T* y, T* z, Index rows, Index in,
                          Index out, const ActivationSpec<T>& f) {
    gemm<T>({x, in}, panels(wp, in), y, out, rows, out, in, forward_epilogue(b, z, f));
}

template <class T>
void dense_backward_data(const T* dz, const T* w, const T* h, T* dx, Index rows, Index in,
                         Index out, const ActivationSpec<T>& f) {
    backward_data<T>(dz, {w, out, GemmLayout::transposed}, h, dx, rows, in, out, in, f);
}

template <class T>
void dense_backward_data_columns(const T* dz, const T* w, const T* h, T* dx, Index rows, Index in,
                                 Index out, Range columns, const ActivationSpec<T>& f) {
    const Index j = columns.begin;
    backward_data<T>(dz, {w + j * out, out, GemmLayout::transposed}, h ? h + j : h, dx + j, rows,
                     in, out, columns.size(), f);
}

template <class T>
void dense_backward_data_packed(const T* dz, const T* wtp, const T* h, T* dx, Index rows, Index in,
                                Index out, const ActivationSpec<T>& f) {
    backward_data<T>(dz, panels(wtp, out), h, dx, rows, in, out, in, f);
}

template <class T>
void dense_backward_weights(const T* x, const T* dz, T* dw, Index rows, Index in, Index out,
                            Range slice) {
    const T* columns = x + slice.begin;
    gemm<T>({columns, in, true}, {dz, out}, dw + slice.begin * out, out, slice.size(), out, rows);
}

template <class T>
void dense_backward_weights_packed(const T* x, const T* dzp, T* dw, Index rows, Index in, Index out,
                                   Range slice) {
    const T* columns = x + slice.begin;
    gemm<T>({columns, in, true}, panels(dzp, rows), dw + slice.begin * out, out, slice.size(), out,
            rows);
}

template <class T>
void dense_backward_bias(const T* dz, T* db, Index rows, Index out, Range slice) {
    constexpr Index width = Simd<T>::width;
    Index j = slice.begin;
    // Eight sums hide the latency of the addition and use whole cache lines.
    for (; j + 8 * width <= slice.end; j += 8 * width) sum_columns<T, 8>(dz + j, db + j, rows, out);
    for (; j + 2 * width <= slice.end; j += 2 * width) sum_columns<T, 2>(dz + j, db + j, rows, out);
    for (; j < slice.end; j += width) {
        sum_columns_partial(dz + j, db + j, rows, out, std::min(width, slice.end - j),
                            rows * out - j);
    }
}

#define FASTPROP_DENSE(T)                                                                          \
    template void dense_forward(const T*, const T*, const T*, T*, T*, Index, Index, Index,         \
                                const ActivationSpec<T>&);                                         \
    template void dense_forward_packed(const T*, const T*, const T*, T*, T*, Index, Index, Index,  \
                                       const ActivationSpec<T>&);                                  \
    template void dense_forward_columns(const T*, const T*, const T*, T*, T*, Index, Index, Index, \
                                        Range, const ActivationSpec<T>&);                          \
    template void dense_backward_data_columns(const T*, const T*, const T*, T*, Index, Index,      \
                                              Index, Range, const ActivationSpec<T>&);             \
    template void dense_backward_data(const T*, const T*, const T*, T*, Index, Index, Index,       \
                                      const ActivationSpec<T>&);                                   \
    template void dense_backward_data_packed(const T*, const T*, const T*, T*, Index, Index,       \
                                             Index, const ActivationSpec<T>&);                     \
    template void dense_backward_weights(const T*, const T*, T*, Index, Index, Index, Range);      \
    template void dense_backward_weights_packed(const T*, const T*, T*, Index, Index, Index,       \
                                                Range);                                            \
    template void dense_backward_bias(const T*, T*, Index, Index, Range);
FASTPROP_DENSE(float)
FASTPROP_DENSE(double)
#undef FASTPROP_DENSE

}  // namespace fastprop
