#include "kernels/gemm.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/aligned_buffer.h"
#include "kernels/gemm_epilogue.h"
#include "kernels/gemm_narrow.h"
#include "kernels/gemm_sparse.h"
#include "kernels/gemm_thin.h"
#include "kernels/gemm_tile.h"
#include "kernels/pack.h"

namespace fastprop {
namespace {

/// Bytes of a panel's block, all of a first-level cache: it streams from the second level in any
/// case, and fewer blocks mean fewer passes over C (on Zen 3 512 rows gained 2 to 4 % over 256).
constexpr Index kPanelBytes = 32 * 1024;
constexpr Index kMaxDepth = 512;
/// Bytes of A in a block, well inside a second-level cache of 512 KB.
///
/// What did not help on Zen 3: a copy of A with padded rows (nothing, not even for strides that are
/// powers of two), prefetching B some rows ahead (nothing) or the next panel between two tiles (1
/// to 4 % slower), all panels for one tile of rows before the next (2 to 8 % slower).
constexpr Index kLeftBytes = 192 * 1024;
/// Up to this k a large C is written row by row (on Zen 3 1.6 times faster for k = 1).
constexpr Index kShallow = 8;
/// Bytes of B that are packed at a time.
constexpr Index kRightBytes = 1024 * 1024;
/// Bytes of C after which an activation that does not fit in registers is applied.
constexpr Index kActivationBytes = 128 * 1024;
/// Bytes of an unpacked B that a first-level cache holds beside the rest.
constexpr Index kDirectBytes = 16 * 1024;
/// Bytes of A from which packing it into strips pays, and columns of C that pay for transposing it
/// (on Zen 3 even at 512, 1.1 times faster at 2048, 2 % slower at 128).
constexpr Index kStripBytes = 16 * 1024;
constexpr Index kStripColumns = 512;
/// Panels up to which an incomplete one is worth a product of its own.
constexpr Index kTailPanels = 16;

template <class T, int kPackets, TileLeft kLeft, std::size_t... kIndex>
constexpr auto tile_table(std::index_sequence<kIndex...>) {
    return std::array<TileFunction<T>, sizeof...(kIndex)>{
        &tile::run<T, static_cast<int>(kIndex) + 1, kPackets, kLeft>...};
}

/// Tiles of one height more each; the height limit depends on the width.
template <class T, int kPackets, TileLeft kLeft, int kRows>
constexpr auto kTiles = tile_table<T, kPackets, kLeft>(std::make_index_sequence<kRows>());

/// With up to three rows one panel has too few accumulators to hide the latency of the
/// multiply-add, so a tile takes several panels.
constexpr Index kGroupRows = 3;
constexpr std::array<Index, kGroupRows> kGroupPanels = {4, 2, 2};

template <class T, TileLeft kLeft>
constexpr std::array<TileFunction<T>, kGroupRows> kGroupTiles = {
    &tile::run<T, 1, 8, kLeft>, &tile::run<T, 2, 4, kLeft>, &tile::run<T, 3, 4, kLeft>};

/// All tiles that read A in one way.
template <class T>
struct TileSet {
    const TileFunction<T>* wide;
    const TileFunction<T>* narrow;
    Index narrow_limit;
    const TileFunction<T>* group;  ///< null: none
};

template <class T>
TileSet<T> tile_set(TileLeft left) {
    constexpr int rows = GemmTile<T>::rows, narrow = GemmTile<T>::narrow_rows;
    switch (left) {
        case TileLeft::strip:  // strips are as high as wide tiles
            return {kTiles<T, 2, TileLeft::strip, rows>.data(),
                    kTiles<T, 1, TileLeft::strip, rows>.data(), rows, nullptr};
        case TileLeft::columns:
            return {kTiles<T, 2, TileLeft::columns, rows>.data(),
                    kTiles<T, 1, TileLeft::columns, narrow>.data(), narrow,
                    kGroupTiles<T, TileLeft::columns>.data()};
        case TileLeft::rows:
            break;
    }
    return {kTiles<T, 2, TileLeft::rows, rows>.data(), kTiles<T, 1, TileLeft::rows, narrow>.data(),
            narrow, kGroupTiles<T, TileLeft::rows>.data()};
}

/// A block of B in the order of the register tile.
template <class T>
struct Panels {
    const T* data = nullptr;
    Index k_stride = 0;
    Index stride = 0;
    const T* tail = nullptr;  ///< the last panel, where its columns do not fill it
    Index tail_k_stride = 0;
};

/// A block of A: as stored, or strips [k][height] one after the other.
template <class T>
struct LeftBlock {
    const T* data = nullptr;
    Index stride = 0;
    TileLeft how = TileLeft::rows;
};

template <class T>
class Gemm {
public:
    Gemm(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
         Index k, const GemmEpilogue<T>& epilogue)
        : a_(a), b_(b), c_(c), c_stride_(c_stride), m_(m), n_(n), k_(k), e_(epilogue) {
        plan();
    }

    void run() {
        for (Index j = 0; j < n_; j += column_block_) {
            const Index n = std::min(column_block_, n_ - j);
            Index k_begin = 0;
            do {  // once for k = 0 too: the epilogue applies to sums that are zero
                const Index k = std::min(depth_, k_ - k_begin);
                run_block(j, n, k_begin, k);
                k_begin += k;
            } while (k_begin < k_);
        }
    }

    static constexpr Index kWidth = GemmTile<T>::columns;
    /// Longest sum that is finished in registers.
    static constexpr Index kDepth =
        std::min<Index>(kMaxDepth, kPanelBytes / (kWidth * Index{sizeof(T)}));

private:
    static constexpr Index kRows = GemmTile<T>::rows;

    /// Chooses blocks and what is packed.
    void plan() {
        depth_ = k_ <= kDepth ? k_ : ceil_div(k_, ceil_div(k_, kDepth));
        const Index row_bytes = std::max<Index>(depth_, 1) * Index{sizeof(T)};
        row_block_ = std::max(kRows, kLeftBytes / row_bytes / kRows * kRows);
        if (!is_in_registers(e_)) {
            const Index rows = kActivationBytes / (n_ * Index{sizeof(T)}) / kRows * kRows;
            row_block_ = std::min(row_block_, std::max(rows, 8 * kRows));
        }
        row_block_ = std::min(row_block_, m_);
        // So few products an element that writing C is the work: whole rows of it, one after the
        // other.
        if (k_ <= kShallow && m_ * n_ * Index{sizeof(T)} > kLeftBytes)
            row_block_ = std::min(kRows, m_);
        pack_b_ = b_.layout == GemmLayout::transposed ||
                  (b_.layout == GemmLayout::rows && m_ > 2 * kRows &&
                   k_ * n_ * Index{sizeof(T)} > kDirectBytes);
        column_block_ = n_;
        if (pack_b_) column_block_ = std::min(n_, kRightBytes / row_bytes / kWidth * kWidth);
        pack_a_ = (pack_b_ || b_.layout == GemmLayout::panels) && m_ > kRows &&
                  n_ >= (a_.transposed ? 3 * kWidth : kStripColumns) &&
                  m_ * k_ * Index{sizeof(T)} > kStripBytes;
        const Index b_size = pack_b_ ? round_up(column_block_, kWidth) * depth_
                             : b_.layout == GemmLayout::rows ? kWidth * depth_
                                                             : 0;
        // Strips are written in whole packets, the last of which reaches behind its strip.
        const Index a_size = pack_a_ ? row_block_ * depth_ + Simd<T>::width : 0;
        const std::size_t b_bytes = align_up(static_cast<std::size_t>(b_size) * sizeof(T));
        if (a_size + b_size == 0) return;
        char* scratch = static_cast<char*>(
            thread_scratch(b_bytes + static_cast<std::size_t>(a_size) * sizeof(T), 0));
        packed_b_ = reinterpret_cast<T*>(scratch);
        packed_a_ = reinterpret_cast<T*>(scratch + b_bytes);
    }

    /// B[k_begin.., j..] as panels, packed first if need be.
    Panels<T> panels(Index j, Index n, Index k_begin, Index k) {
        Panels<T> p;
        const bool partial = n % kWidth != 0;
        const Index full = n / kWidth;
        if (b_.layout == GemmLayout::panels) {
            p = {b_.data + j / kWidth * b_.stride + k_begin * kWidth, kWidth, b_.stride};
        } else if (pack_b_) {
            p = {packed_b_, kWidth, k * kWidth};
            if (b_.layout == GemmLayout::rows) {
                pack_panels(b_.data + k_begin * b_.stride + j, packed_b_, k, n, b_.stride,
                            p.stride);
            } else {
                pack_panels_transposed(b_.data + j * b_.stride + k_begin, packed_b_, k, n,
                                       b_.stride, p.stride, 0, true);
            }
        } else {
            p = {b_.data + k_begin * b_.stride + j, b_.stride, kWidth};
            if (partial)
                pack_panels(p.data + full * kWidth, packed_b_, k, n % kWidth, b_.stride, 0);
            p.tail = packed_b_;
            p.tail_k_stride = kWidth;
            return p;
        }
        p.tail = p.data + full * p.stride;
        p.tail_k_stride = kWidth;
        return p;
    }

    LeftBlock<T> left(Index i, Index m, Index k_begin, Index k) {
        const Index stride = a_.stride;
        const T* from = a_.data + (a_.transposed ? k_begin * stride + i : i * stride + k_begin);
        if (!pack_a_) return {from, stride, a_.transposed ? TileLeft::columns : TileLeft::rows};
        for (Index r = 0; r < m;) {
            const Index height = tile_height(m - r, kRows);
            T* strip = packed_a_ + r * k;
            if (a_.transposed) {
                pack_strip(from + r, strip, k, height, stride);
            } else {
                pack_strip_transposed(from + r * stride, strip, k, height, stride);
            }
            r += height;
        }
        return {packed_a_, 0, TileLeft::strip};
    }

    void run_block(Index j, Index n, Index k_begin, Index k) {
        const Panels<T> b = panels(j, n, k_begin, k);
        const bool last = k_begin + k == k_;
        for (Index i = 0; i < m_; i += row_block_) {
            const Index m = std::min(row_block_, m_ - i);
            const LeftBlock<T> a = left(i, m, k_begin, k);
            run_panels(a, b, i, m, j, n, k, k_begin > 0 || e_.accumulate, last);
            if (last && !is_in_registers(e_)) {
                apply_activation(e_, c_, c_stride_, i * c_stride_ + j, m, n);
            }
        }
    }

    void run_panels(const LeftBlock<T>& a, const Panels<T>& b, Index i, Index m, Index j, Index n,
                    Index k, bool resume, bool last) {
        TileCall<T> t = {};
        t.b_stride = b.k_stride;
        t.b_panel = b.stride;
        t.a_stride = a.stride;
        t.k = k;
        t.resume = resume;
        const Index full = n / kWidth;
        const TileSet<T> tiles = tile_set<T>(a.how);
        Index p = 0;
        if (m <= kGroupRows && tiles.group != nullptr) {
            const Index group = kGroupPanels[static_cast<std::size_t>(m - 1)];
            for (; p + group <= full; p += group) {
                t.b = b.data + p * b.stride;
                t.columns = group * kWidth;
                place_tile(t, e_, c_, c_stride_, i * c_stride_ + j + p * kWidth, j + p * kWidth,
                           last);
                run_rows(t, a, m, kGroupRows, tiles.group);
            }
        }
        t.columns = kWidth;
        for (; p < full; ++p) {
            t.b = b.data + p * b.stride;
            place_tile(t, e_, c_, c_stride_, i * c_stride_ + j + p * kWidth, j + p * kWidth, last);
            run_rows(t, a, m, kRows, tiles.wide);
        }
        t.columns = n - full * kWidth;
        if (t.columns == 0) return;
        t.b = b.tail;
        t.b_stride = b.tail_k_stride;
        place_tile(t, e_, c_, c_stride_, i * c_stride_ + j + full * kWidth, j + full * kWidth,
                   last);
        if (t.columns > Simd<T>::width) {
            run_rows(t, a, m, kRows, tiles.wide);
        } else {
            run_rows(t, a, m, tiles.narrow_limit, tiles.narrow);
        }
    }

    /// One panel (or group of panels) times all rows of the block.
    static void run_rows(TileCall<T> t, const LeftBlock<T>& a, Index m, Index limit,
                         const TileFunction<T>* tiles) {
        const Index a_row = a.how == TileLeft::strip     ? t.k
                            : a.how == TileLeft::columns ? 1
                                                         : a.stride;
        for (Index r = 0; r < m;) {
            const Index height = tile_height(m - r, limit);
            t.a = a.data + r * a_row;
            tiles[height - 1](t);
            t.c += height * t.c_stride;
            if (t.mask) t.mask += height * t.c_stride;
            if (t.z) t.z += height * t.c_stride;
            r += height;
        }
    }

    GemmLeft<T> a_;
    GemmRight<T> b_;
    T* c_;
    Index c_stride_;
    Index m_, n_, k_;
    GemmEpilogue<T> e_;
    bool pack_a_ = false;
    bool pack_b_ = false;
    Index depth_ = 0;
    Index row_block_ = 0;
    Index column_block_ = 0;
    T* packed_a_ = nullptr;
    T* packed_b_ = nullptr;
};

/// A last panel that one packet or less of columns fills is, with the panel before, a narrow
/// product of its own: three packets instead of four, and no masks. On Zen 3 that took 0.93 to 0.95
/// for 100 columns. Returns the columns that are left; longer sums and wider products gained
/// nothing (1.00 to 1.05), as A is read once more.
template <class T>
Index without_tail(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m,
                   Index n, Index k, const GemmEpilogue<T>& epilogue) {
    constexpr Index panel = GemmTile<T>::columns;
    const Index over = n % panel, first = n - over - panel;
    if (over == 0 || over > GemmTile<T>::width || first <= 0 || n > kTailPanels * panel ||
        m <= GemmTile<T>::rows || k * (n - first) * Index{sizeof(T)} > kDirectBytes)
        return n;
    GemmEpilogue<T> e = epilogue;
    if (e.bias) e.bias += first;
    if (e.z) e.z += first;
    if (e.h) e.h += first;
    const Index step = b.layout == GemmLayout::transposed ? b.stride : 1;
    const GemmRight<T> right = {b.data + first * step, b.stride, b.layout};
    return gemm_narrow(a, right, c + first, c_stride, m, n - first, k, e) ? first : n;
}

}  // namespace

template <class T>
void gemm(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
          Index k, const GemmEpilogue<T>& epilogue) {
    if (m <= 0 || n <= 0) return;
    if (!epilogue.accumulate && gemm_thin(a, b, c, c_stride, m, n, k, epilogue)) return;
    if (gemm_narrow(a, b, c, c_stride, m, n, k, epilogue)) return;
    const Zeros zeros = zeros_to_skip(a, b, m, n, k, epilogue);
    if (zeros != Zeros::none) return gemm_sparse(zeros, a, b, c, c_stride, m, n, k, epilogue);
    if (n == 1 && c_stride == 1 && m > 3 && a.transposed) {
        // C^T = B^T A^T: packets along the rows instead of one lane each; the same products and
        // order.
        const Index stride = b.layout == GemmLayout::panels ? panel_width<T>() : b.stride;
        const GemmLeft<T> left = {b.data, stride, b.layout != GemmLayout::transposed};
        GemmEpilogue<T> e = epilogue;
        e.scalar_bias = true;
        Gemm<T>(left, {a.data, a.stride}, c, m, 1, m, k, e).run();
        return;
    }
    const Index columns = without_tail(a, b, c, c_stride, m, n, k, epilogue);
    Gemm<T>(a, b, c, c_stride, m, columns, k, epilogue).run();
}

template <class T>
bool gemm_may_overwrite_h(Activation activation, Index m, Index n, Index k) {
    // Thin products finish their sums in C, and deep ones come back to it.
    return activation == Activation::relu && m > 1 && n > 1 && k <= Gemm<T>::kDepth;
}

template bool gemm_may_overwrite_h<float>(Activation, Index, Index, Index);
template bool gemm_may_overwrite_h<double>(Activation, Index, Index, Index);

template void gemm(const GemmLeft<float>&, const GemmRight<float>&, float*, Index, Index, Index,
                   Index, const GemmEpilogue<float>&);
template void gemm(const GemmLeft<double>&, const GemmRight<double>&, double*, Index, Index, Index,
                   Index, const GemmEpilogue<double>&);

}  // namespace fastprop
