#include "kernels/gemm_narrow.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/aligned_buffer.h"
#include "kernels/gemm_epilogue.h"
#include "kernels/gemm_tile.h"
#include "kernels/pack.h"

// A packet as a template argument loses its alignment attribute, which a local variable does not
// need.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

namespace fastprop {
namespace {

/// Columns are dealt out in groups of two packets, the last one of two or three. The last packet of
/// all ends with the last column, so it may overlap the one before: what both hold comes out twice,
/// with the same bits. So there are no masks, no copies of incomplete panels, and 20 columns take
/// three packets of eight instead of four.
constexpr Index kMostPackets = 9;
constexpr int kMostGroupPackets = 3;
/// Bytes of B that stay in a first-level cache.
constexpr Index kBlockBytes = 16 * 1024;
/// Rows after which activations that do not fit in registers are applied.
constexpr Index kBlockRows = 96;

/// Rows of a tile of three packets.
template <class T>
constexpr int kTripleRows = GemmTile<T>::rows > 6 ? 8 : 4;

/// A tile, and what is done to its sums if they are finished.
template <class T>
struct NarrowCall {
    const T* a;
    Index a_stride;
    const T* b;
    Index b_stride;
    Index k;
    T* c;
    Index c_stride;
    Index last;  ///< column at which the last packet begins
    bool resume;
    const T* bias;
    const T* mask;
    T* z;
    bool relu;
};

template <class T, int kRows, int kPackets, bool kTransposed>
void run_tile(const NarrowCall<T>& call) {
    using S = Simd<T>;
    using Packet = typename S::Packet;
    const NarrowCall<T> t = call;  // a copy that stores through T* cannot alias
    const auto column = [&t](int v) { return v + 1 < kPackets ? v * Index{S::width} : t.last; };
    Packet acc[kRows][kPackets];
    FASTPROP_UNROLL
    for (int i = 0; i < kRows; ++i) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) acc[i][v] = S::set(T(0));
    }
    if (t.resume) {
        const T* c = t.c;
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i, c += t.c_stride) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) acc[i][v] = S::load(c + column(v));
        }
    }
    const T* a = t.a;
    const T* b = t.b;
    const T* b_last = t.b + t.last;
    for (Index k = t.k; k > 0; --k) {
        Packet row[kPackets];
        FASTPROP_UNROLL
        for (int v = 0; v + 1 < kPackets; ++v) row[v] = S::load(b + v * S::width);
        row[kPackets - 1] = S::load(b_last);
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) tile::hold_packet(row[v]);
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            const Packet left = S::set(kTransposed ? a[i] : a[i * t.a_stride]);
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) acc[i][v] = pk::pmadd(left, row[v], acc[i][v]);
        }
        a += kTransposed ? t.a_stride : 1;
        b += t.b_stride;
        b_last += t.b_stride;
    }
    if (t.bias) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) {
            const Packet bias = S::load(t.bias + column(v));
            FASTPROP_UNROLL
            for (int i = 0; i < kRows; ++i) acc[i][v] = pk::padd(acc[i][v], bias);
        }
    }
    if (t.mask) {
        const T* h = t.mask;
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i, h += t.c_stride) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v)
                acc[i][v] = tile::relu_mask<T>(acc[i][v], S::load(h + column(v)));
        }
    }
    if (t.z) {
        T* z = t.z;
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i, z += t.c_stride) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) S::store(z + column(v), acc[i][v]);
        }
    }
    if (t.relu) {
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) acc[i][v] = tile::relu<T>(acc[i][v]);
        }
    }
    T* c = t.c;
    FASTPROP_UNROLL
    for (int i = 0; i < kRows; ++i, c += t.c_stride) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) S::store(c + column(v), acc[i][v]);
    }
}

template <class T>
using NarrowTile = void (*)(const NarrowCall<T>&);

template <class T, int kPackets, bool kTransposed, std::size_t... kIndex>
constexpr auto tile_table(std::index_sequence<kIndex...>) {
    return std::array<NarrowTile<T>, sizeof...(kIndex)>{
        &run_tile<T, static_cast<int>(kIndex) + 1, kPackets, kTransposed>...};
}

/// Tiles of one height more each.
template <class T, int kPackets, bool kTransposed, int kRows>
constexpr auto kTiles = tile_table<T, kPackets, kTransposed>(std::make_index_sequence<kRows>());

template <class T>
struct TileSet {
    const NarrowTile<T>* tiles;
    Index limit;
};

template <class T, bool kTransposed>
TileSet<T> tile_set(Index packets) {
    constexpr int rows = GemmTile<T>::rows, single = GemmTile<T>::narrow_rows;
    if (packets == 1) return {kTiles<T, 1, kTransposed, single>.data(), single};
    if (packets == 2) return {kTiles<T, 2, kTransposed, rows>.data(), rows};
    return {kTiles<T, 3, kTransposed, kTripleRows<T>>.data(), kTripleRows<T>};
}

template <class T>
class GemmNarrow {
public:
    GemmNarrow(const GemmLeft<T>& a, const T* b, Index b_stride, T* c, Index c_stride, Index n,
               const GemmEpilogue<T>& epilogue)
        : a_(a), b_(b), b_stride_(b_stride), c_(c), c_stride_(c_stride), n_(n), e_(epilogue) {
        relu_ = e_.activation == Activation::relu;
        backward_ = e_.h != nullptr && e_.activation != Activation::identity;
        in_registers_ = relu_ || e_.activation == Activation::identity;
    }

    /// Rows [i, i + m), over [k_begin, k_begin + k); `last`: then the sums are finished.
    void run(Index i, Index m, Index k_begin, Index k, bool last) const {
        constexpr Index width = Simd<T>::width;
        const Index packets = ceil_div(n_, width);
        for (Index p = 0; p < packets;) {
            const Index left = packets - p;
            const Index group = left <= kMostGroupPackets ? left : 2;
            run_group(i, m, p * width, group, k_begin, k, last);
            p += group;
        }
        if (last && !in_registers_) apply_activation(e_, c_, c_stride_, i * c_stride_, m, n_);
    }

private:
    void run_group(Index i, Index m, Index j, Index packets, Index k_begin, Index k,
                   bool last) const {
        const TileSet<T> set =
            a_.transposed ? tile_set<T, true>(packets) : tile_set<T, false>(packets);
        const Index at = i * c_stride_ + j;
        NarrowCall<T> t = {};
        t.a = a_.data + (a_.transposed ? k_begin * a_.stride + i : i * a_.stride + k_begin);
        t.a_stride = a_.stride;
        t.b = b_ + k_begin * b_stride_ + j;
        t.b_stride = b_stride_;
        t.k = k;
        t.c = c_ + at;
        t.c_stride = c_stride_;
        t.last = std::min((packets - 1) * Index{Simd<T>::width}, n_ - Simd<T>::width - j);
        t.resume = k_begin > 0 || e_.accumulate;
        if (last) {
            t.bias = e_.bias ? e_.bias + j : nullptr;
            t.mask = relu_ && backward_ ? e_.h + at : nullptr;
            t.z = e_.z ? e_.z + at : nullptr;
            t.relu = relu_ && !backward_;
        }
        const Index a_row = a_.transposed ? 1 : a_.stride;
        for (Index r = 0; r < m;) {
            const Index height = tile_height(m - r, set.limit);
            set.tiles[height - 1](t);
            t.a += height * a_row;
            t.c += height * c_stride_;
            if (t.mask) t.mask += height * c_stride_;
            if (t.z) t.z += height * c_stride_;
            r += height;
        }
    }

    GemmLeft<T> a_;
    const T* b_;
    Index b_stride_;
    T* c_;
    Index c_stride_;
    Index n_;
    GemmEpilogue<T> e_;
    bool relu_;
    bool backward_;
    bool in_registers_;
};

}  // namespace

template <class T>
bool gemm_narrow(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m,
                 Index n, Index k, const GemmEpilogue<T>& e) {
    constexpr Index width = Simd<T>::width;
    const Index depth = kBlockBytes / (n * Index{sizeof(T)});
    if (n < width || n % (2 * width) == 0 || ceil_div(n, width) > kMostPackets || e.scalar_bias ||
        b.layout == GemmLayout::panels || (b.layout == GemmLayout::transposed && k > depth))
        return false;
    const T* rows = b.data;
    Index b_stride = b.stride;
    if (b.layout == GemmLayout::transposed) {
        T* scratch = static_cast<T*>(
            thread_scratch(static_cast<std::size_t>(std::max<Index>(k * n, 1)) * sizeof(T), 0));
        transpose_block(b.data, b.stride, n, k, scratch, n);
        rows = scratch;
        b_stride = n;
    }
    const GemmNarrow<T> product(a, rows, b_stride, c, c_stride, n, e);
    for (Index i = 0; i < m; i += kBlockRows) {
        Index k_begin = 0;
        do {  // once for k = 0 too: the epilogue applies to sums that are zero
            const Index block = std::min(depth, k - k_begin);
            product.run(i, std::min(kBlockRows, m - i), k_begin, block, k_begin + block == k);
            k_begin += block;
        } while (k_begin < k);
    }
    return true;
}

template bool gemm_narrow(const GemmLeft<float>&, const GemmRight<float>&, float*, Index, Index,
                          Index, Index, const GemmEpilogue<float>&);
template bool gemm_narrow(const GemmLeft<double>&, const GemmRight<double>&, double*, Index, Index,
                          Index, Index, const GemmEpilogue<double>&);

}  // namespace fastprop
