#include "kernels/pack.h"

#include <algorithm>
#include <cstring>

#include "kernels/gemm_tile.h"

// A packet as a template argument loses its alignment attribute, which a local variable does not
// need.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

namespace fastprop {
namespace {

template <class T>
constexpr Index kWidth = GemmTile<T>::columns;

/// One square of packets: rows of bt become columns of the panel.
template <class T>
void transpose_square(const T* bt, Index stride, T* packed) {
    using S = Simd<T>;
    pk::PacketBlock<typename S::Packet, S::width> block;
    FASTPROP_UNROLL
    for (int i = 0; i < S::width; ++i) block.packet[i] = S::load(bt + i * stride);
    pk::ptranspose(block);
    FASTPROP_UNROLL
    for (int i = 0; i < S::width; ++i) S::store(packed + i * kWidth<T>, block.packet[i]);
}

/// Rows [0, lanes) of bt [n, k] into lanes of one panel.
template <class T>
void transpose_lanes(const T* bt, Index stride, T* packed, Index k, Index lanes) {
    constexpr Index square = Simd<T>::width;
    Index lane = 0;
    for (; lane + square <= lanes; lane += square) {
        const T* from = bt + lane * stride;
        Index i = 0;
        for (; i + square <= k; i += square) {
            transpose_square(from + i, stride, packed + i * kWidth<T> + lane);
        }
        for (; i < k; ++i) {
            for (Index j = 0; j < square; ++j)
                packed[i * kWidth<T> + lane + j] = from[j * stride + i];
        }
    }
    for (; lane < lanes; ++lane) {
        const T* from = bt + lane * stride;
        for (Index i = 0; i < k; ++i) packed[i * kWidth<T> + lane] = from[i];
    }
}

/// Columns that do not fill their panel. Whole packets are read, which reach into the next row, and
/// masked; only the last rows, where that would leave the matrix, go lane by lane.
template <class T>
void pack_tail(const T* b, T* packed, Index k, Index n, Index stride) {
    using S = Simd<T>;
    const Index readable = (k - 1) * stride + n;
    T ones[S::width];
    std::memset(ones, 0xFF, sizeof ones);
    for (Index at = 0; at < kWidth<T>; at += S::width) {
        const Index lanes = std::max<Index>(n - at, 0);
        const typename S::Packet mask = tile::load_lanes(ones, lanes);
        const Index whole = readable - at - S::width;  // last offset of a whole packet
        for (Index i = 0; i < k; ++i) {
            const T* from = b + i * stride + at;
            S::store(packed + i * kWidth<T> + at, i * stride <= whole && lanes > 0
                                                      ? pk::pand(S::load(from), mask)
                                                      : tile::load_lanes(from, lanes));
        }
    }
}

}  // namespace

template <class T>
Index panel_width() {
    return kWidth<T>;
}

Index packed_panel_width(DType dtype) {
    if (dtype == DType::f32) return kWidth<float>;
    return dtype == DType::f64 ? kWidth<double> : 0;
}

template <class T>
Index packed_size(Index k, Index n) {
    return round_up(n, kWidth<T>) * k;
}

template <class T>
void pack_panels(const T* b, T* packed, Index k, Index n, Index stride, Index panel_stride) {
    // Four rows at a time run at the speed of memcpy; a panel at a time reads one line a page (half
    // the speed), a row at a time writes one line a page (the same for strides of powers of two).
    constexpr Index width = kWidth<T>, block = 4;
    const Index full = n / width, rest = n % width;
    for (Index begin = 0; begin < k; begin += block) {
        const Index end = std::min(begin + block, k);
        for (Index p = 0; p < full; ++p) {
            const T* from = b + p * width;
            T* to = packed + p * panel_stride;
            for (Index i = begin; i < end; ++i) {
                std::memcpy(to + i * width, from + i * stride, width * sizeof(T));
            }
        }
    }
    if (rest > 0) pack_tail(b + full * width, packed + full * panel_stride, k, rest, stride);
}

template <class T>
void pack_panels_transposed(const T* bt, T* packed, Index k, Index n, Index stride,
                            Index panel_stride, Index first, bool pad) {
    constexpr Index width = kWidth<T>;
    if (n == 0) return;
    Index row = 0;
    Index lane = first;
    for (; row < n; packed += panel_stride) {
        const Index lanes = std::min(width - lane, n - row);
        transpose_lanes(bt + row * stride, stride, packed + lane, k, lanes);
        row += lanes;
        if (row == n && pad && lane + lanes < width) {
            for (Index i = 0; i < k; ++i) {
                std::fill(packed + i * width + lane + lanes, packed + (i + 1) * width, T(0));
            }
        }
        lane = 0;
    }
}

template <class T>
void pack_rows(const T* b, T* packed, Index k, Index n, Range rows) {
    pack_panels(b + rows.begin * n, packed + rows.begin * kWidth<T>, rows.size(), n, n,
                k * kWidth<T>);
}

template <class T>
void pack_rows_transposed(const T* w, T* packed, Index in, Index out, Range rows) {
    constexpr Index width = kWidth<T>;
    const Index panel_stride = out * width;
    pack_panels_transposed(w + rows.begin * out, packed + rows.begin / width * panel_stride, out,
                           rows.size(), out, panel_stride, rows.begin % width, rows.end == in);
}

template <class T>
void pack_strip(const T* at, T* packed, Index k, Index width, Index stride) {
    if (width == GemmTile<T>::rows) {  // a constant size: a few moves instead of a call
        for (Index i = 0; i < k; ++i) {
            std::memcpy(packed + i * GemmTile<T>::rows, at + i * stride,
                        GemmTile<T>::rows * sizeof(T));
        }
        return;
    }
    for (Index i = 0; i < k; ++i) {
        tile::copy_lanes<16>(at + i * stride, packed + i * width, width);
    }
}

template <class T>
void pack_strip_transposed(const T* a, T* packed, Index k, Index width, Index stride) {
    using S = Simd<T>;
    constexpr Index square = S::width;
    Index i = 0;
    for (; i + square <= k; i += square) {
        // Rows beyond the last are read as the last. What they leave in the next column is
        // overwritten, since the first rows come last.
        for (Index row = (width - 1) / square * square; row >= 0; row -= square) {
            pk::PacketBlock<typename S::Packet, S::width> block;
            FASTPROP_UNROLL
            for (int r = 0; r < S::width; ++r) {
                block.packet[r] = S::load(a + std::min(row + r, width - 1) * stride + i);
            }
            pk::ptranspose(block);
            FASTPROP_UNROLL
            for (int c = 0; c < S::width; ++c) {
                S::store(packed + (i + c) * width + row, block.packet[c]);
            }
        }
    }
    for (; i < k; ++i) {
        for (Index row = 0; row < width; ++row) packed[i * width + row] = a[row * stride + i];
    }
}

template <class T>
void transpose_block(const T* x, Index x_stride, Index rows, Index columns, T* y, Index y_stride) {
    using S = Simd<T>;
    constexpr Index square = S::width;
    if (rows < square || columns < square) {
        for (Index r = 0; r < rows; ++r) {
            for (Index c = 0; c < columns; ++c) y[c * y_stride + r] = x[r * x_stride + c];
        }
        return;
    }
    const auto move = [&](Index r, Index c) {
        pk::PacketBlock<typename S::Packet, S::width> block;
        FASTPROP_UNROLL
        for (int i = 0; i < S::width; ++i) block.packet[i] = S::load(x + (r + i) * x_stride + c);
        pk::ptranspose(block);
        FASTPROP_UNROLL
        for (int i = 0; i < S::width; ++i) S::store(y + (c + i) * y_stride + r, block.packet[i]);
    };
    // Along the rows that are further apart; the last squares may overlap others.
    const bool along_y = y_stride > x_stride;
    const Index outer = along_y ? columns : rows, inner = along_y ? rows : columns;
    for (Index i = 0; i < outer; i += square) {
        const Index o = std::min(i, outer - square);
        for (Index j = 0; j < inner; j += square) {
            const Index n = std::min(j, inner - square);
            along_y ? move(n, o) : move(o, n);
        }
    }
}

#define FASTPROP_PACK(T)                                                                         \
    template Index panel_width<T>();                                                             \
    template Index packed_size<T>(Index, Index);                                                 \
    template void pack_panels(const T*, T*, Index, Index, Index, Index);                         \
    template void pack_panels_transposed(const T*, T*, Index, Index, Index, Index, Index, bool); \
    template void pack_rows(const T*, T*, Index, Index, Range);                                  \
    template void pack_rows_transposed(const T*, T*, Index, Index, Range);                       \
    template void pack_strip(const T*, T*, Index, Index, Index);                                 \
    template void pack_strip_transposed(const T*, T*, Index, Index, Index);                      \
    template void transpose_block(const T*, Index, Index, Index, T*, Index);
FASTPROP_PACK(float)
FASTPROP_PACK(double)
#undef FASTPROP_PACK

}  // namespace fastprop
