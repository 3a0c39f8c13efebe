#include "kernels/gemm_sparse.h"

#include <algorithm>
#include <vector>

#include "core/aligned_buffer.h"
#include "kernels/gemm_epilogue.h"
#include "kernels/gemm_sparse_tile.h"
#include "kernels/pack.h"

// A packet as a template argument loses its alignment attribute, which a local variable does not
// need.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

namespace fastprop {
namespace {

using sparse::kMostPanels;
using sparse::kSteps;
using sparse::kWidth;
using sparse::Mask;
using sparse::RowsCall;

constexpr Index kLeastPanels = 3;
constexpr Index kLeastRows = 16;
constexpr Index kLeastDepth = 16;
/// Rows whose sums wait in a second-level cache for the next block of k.
constexpr Index kRowBlock = 256;
constexpr Index kLeastRowBlock = 64;
/// Bytes of a transposed copy of A.
constexpr Index kLeftBytes = 2 * 1024 * 1024;
/// Pieces of rows that are looked at for zeros.
constexpr Index kSample = 8;
/// Where only fewer nonzeros would pay, nobody looks.
constexpr double kLikelyDensity = 0.2;

/// Zero times what is not finite is NaN, so nothing may be skipped there.
template <class T>
bool is_finite(const T* b, Index b_panel, Index panels, Index steps) {
    using S = Simd<T>;
    constexpr int sums = 4;
    const auto zero = S::set(T(0));
    typename S::Packet sum[sums] = {zero, zero, zero, zero};
    for (Index p = 0; p < panels; ++p, b += b_panel) {
        Index i = 0;
        for (; i + sums * S::width <= steps * kWidth<T>; i += sums * S::width) {
            FASTPROP_UNROLL
            for (int v = 0; v < sums; ++v)
                sum[v] = pk::pmadd(S::load(b + i + v * S::width), zero, sum[v]);
        }
        for (; i < steps * kWidth<T>; i += S::width)
            sum[0] = pk::pmadd(S::load(b + i), zero, sum[0]);
    }
    return pk::predux(pk::padd(pk::padd(sum[0], sum[1]), pk::padd(sum[2], sum[3]))) == T(0);
}

template <class T>
class GemmSparse {
public:
    GemmSparse(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
               Index k, bool transposed_output, const GemmEpilogue<T>& epilogue)
        : a_(a),
          b_(b),
          c_(c),
          c_stride_(c_stride),
          m_(m),
          n_(n),
          k_(k),
          transposed_output_(transposed_output),
          e_(epilogue) {
        blocks_ = ceil_div(k, kSteps<T>);
        steps_ = ceil_div(k, blocks_);
        row_block_ = std::min(kRowBlock, m);
        if (a.transposed) row_block_ = std::min(row_block_, kLeftBytes / (k * Index{sizeof(T)}));
        allocate();
    }

    void run() {
        for (begin_ = 0; begin_ < m_; begin_ += row_block_) {
            rows_ = std::min(row_block_, m_ - begin_);
            for (Index q = 0; q < blocks_; ++q) read_left(q);
            const Index panels = ceil_div(n_, kWidth<T>), groups = ceil_div(panels, kMostPanels);
            for (Index g = 0; g < groups; ++g) {
                const Index first = g * panels / groups;
                run_group(first, (g + 1) * panels / groups - first);
            }
            if (!is_in_registers(e_))
                apply_activation(e_, c_, c_stride_, begin_ * c_stride_, rows_, n_);
        }
    }

private:
    void allocate() {
        constexpr Index columns = kMostPanels * kWidth<T>;
        const auto bytes = [](Index count, std::size_t size) {
            return align_up(static_cast<std::size_t>(count) * size);
        };
        const Index b_size = b_.layout == GemmLayout::panels ? 0 : columns * steps_;
        const Index a_size = a_.transposed ? row_block_ * k_ : 0;
        const std::size_t b_bytes = bytes(b_size, sizeof(T)), a_bytes = bytes(a_size, sizeof(T));
        const std::size_t sums = bytes(columns * row_block_, sizeof(T));
        const std::size_t masks = bytes((blocks_ + 1) * row_block_, sizeof(Mask));
        char* scratch = static_cast<char*>(thread_scratch(b_bytes + a_bytes + sums + masks, 0));
        packed_b_ = reinterpret_cast<T*>(scratch);
        packed_a_ = reinterpret_cast<T*>(scratch + b_bytes);
        sums_ = reinterpret_cast<T*>(scratch + b_bytes + a_bytes);
        masks_ = reinterpret_cast<Mask*>(scratch + b_bytes + a_bytes + sums);
        all_ = masks_ + blocks_ * row_block_;
    }

    Index steps_of(Index q) const { return std::min(steps_, k_ - q * steps_); }

    /// Block q of A, where it lies or transposed.
    void set_left(RowsCall<T>& t, Index q) const {
        t.a = a_.transposed ? packed_a_ + q * steps_ * rows_
                            : a_.data + begin_ * a_.stride + q * steps_;
        t.a_stride = a_.transposed ? steps_of(q) : a_.stride;
    }

    void read_left(Index q) {
        const Index k = q * steps_, steps = steps_of(q);
        if (a_.transposed)
            transpose_block(a_.data + k * a_.stride + begin_, a_.stride, steps, rows_,
                            packed_a_ + k * rows_, steps);
        RowsCall<T> t = {};
        set_left(t, q);
        for (Index r = 0; r < rows_; ++r)
            masks_[q * rows_ + r] = nonzero_mask(t.a + r * t.a_stride, steps);
    }

    void set_right(RowsCall<T>& t, Index q, Index j) const {
        const Index k = q * steps_, steps = steps_of(q);
        if (b_.layout == GemmLayout::panels) {
            t.b = b_.data + j / kWidth<T> * b_.stride + k * kWidth<T>;
            t.b_panel = b_.stride;
            return;
        }
        t.b = packed_b_;
        t.b_panel = steps * kWidth<T>;
        if (b_.layout == GemmLayout::rows) {
            pack_panels(b_.data + k * b_.stride + j, packed_b_, steps, t.out.columns, b_.stride,
                        t.b_panel);
        } else {
            pack_panels_transposed(b_.data + j * b_.stride + k, packed_b_, steps, t.out.columns,
                                   b_.stride, t.b_panel, 0, true);
        }
    }

    /// All rows of the block times some panels.
    void run_group(Index first, Index panels) {
        std::vector<Index> unsure;
        multiply(first, panels, 0, rows_, &unsure);
        for (const Index row : unsure) multiply(first, panels, row, row + 1, nullptr);
        if (!transposed_output_) return;
        const Index j = first * kWidth<T>, columns = panels * kWidth<T>;
        transpose_block(sums_, columns, rows_, std::min(columns, n_ - j),
                        c_ + j * c_stride_ + begin_, c_stride_);
    }

    /// Rows [begin, end) of the block; without `unsure` zeros count, too.
    void multiply(Index first, Index panels, Index begin, Index end, std::vector<Index>* unsure) {
        const Index j = first * kWidth<T>;
        RowsCall<T> t = {};
        t.sums = sums_;
        t.out.columns = std::min(panels * kWidth<T>, n_ - j);
        if (!transposed_output_)
            place_tile(t.out, e_, c_, c_stride_, begin_ * c_stride_ + j, j, true);
        for (Index q = 0; q < blocks_; ++q) {
            const Index steps = steps_of(q);
            set_left(t, q);
            set_right(t, q, j);
            t.masks = masks_ + q * rows_;
            if (unsure == nullptr || !is_finite(t.b, t.b_panel, panels, steps)) {
                std::fill(all_ + begin, all_ + end, ~Mask{0} >> (64 - steps));
                t.masks = all_;
            }
            t.resume = q > 0;
            t.last = q + 1 == blocks_;
            sparse::kRunRows<T>[static_cast<std::size_t>(panels - 1)](t, begin, end, unsure);
        }
    }

    GemmLeft<T> a_;
    GemmRight<T> b_;
    T* c_;
    Index c_stride_;
    Index m_, n_, k_;
    bool transposed_output_;
    GemmEpilogue<T> e_;
    Index blocks_, steps_;
    Index row_block_;
    Index begin_ = 0, rows_ = 0;
    T* packed_b_ = nullptr;
    T* packed_a_ = nullptr;
    T* sums_ = nullptr;
    Mask* masks_ = nullptr;  ///< [block of k][row]
    Mask* all_ = nullptr;
};

/// Share of elements that are not zero, in some pieces of rows of the stored matrix.
template <class T>
double density(const GemmLeft<T>& a, Index m, Index k) {
    const Index rows = a.transposed ? k : m, columns = a.transposed ? m : k;
    const Index piece = std::min<Index>(64, columns), pieces = std::min(kSample, rows);
    Index nonzero = 0;
    for (Index i = 0; i < pieces; ++i) {
        const T* row = a.data + (2 * i + 1) * rows / (2 * pieces) * a.stride;
        nonzero += count_bits(nonzero_mask(row + i * (columns - piece) / pieces, piece));
    }
    return static_cast<double>(nonzero) / static_cast<double>(pieces * piece);
}

// Costs are cycles on Zen 3, fitted to products of 16 to 512.

template <class T>
double tile_cost(Index m, Index n, Index k) {
    return 1.15 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) /
           static_cast<double>(kWidth<T>);
}

/// What the product costs without the zeros of A; a sample of them is taken if it may be below
/// `limit`.
template <class T>
double skipping_cost(const GemmLeft<T>& a, Index m, Index n, Index k, double limit) {
    const bool too_deep = a.transposed && k * kLeastRowBlock * Index{sizeof(T)} > kLeftBytes;
    if (n < kLeastPanels * kWidth<T> || m < kLeastRows || k < kLeastDepth || too_deep) return limit;
    const auto rows = static_cast<double>(m), steps = static_cast<double>(k);
    const auto panels = static_cast<double>(n) / static_cast<double>(kWidth<T>);
    const auto groups = static_cast<double>(ceil_div(ceil_div(n, kWidth<T>), kMostPanels));
    const auto blocks = static_cast<double>(ceil_div(k, kSteps<T>));
    // From block to block, finished sums, masks (and a transposed A); B packed and looked through.
    const double finish = n % kWidth<T> == 0 ? 8 * panels : 8 * (panels + kMostPanels);
    const double read = (a.transposed ? 1.1 : 0.3) * steps;
    const double fixed = rows * (25 * blocks * groups + finish + read) + 3 * steps * panels;
    // A nonzero is loaded, and so is each packet of B: two a cycle, at best.
    const double all = 1.45 * (panels + 0.5 * groups) * rows * steps;
    if (fixed + kLikelyDensity * all >= limit) return limit;
    return fixed + density(a, m, k) * all;
}

/// C^T = B^T A^T.
template <class T>
GemmLeft<T> swapped(const GemmRight<T>& b) {
    return {b.data, b.stride, b.layout == GemmLayout::rows};
}

template <class T>
GemmRight<T> swapped(const GemmLeft<T>& a) {
    return {a.data, a.stride, a.transposed ? GemmLayout::rows : GemmLayout::transposed};
}

}  // namespace

template <class T>
Zeros zeros_to_skip(const GemmLeft<T>& a, const GemmRight<T>& b, Index m, Index n, Index k,
                    const GemmEpilogue<T>& e) {
    if (e.accumulate || e.scalar_bias) return Zeros::none;
    const double dense = tile_cost<T>(m, n, k);
    const double left = skipping_cost(a, m, n, k, dense);
    // As in the derivative by the weights, whose right operand ReLU has let through.
    const bool plain = e.activation == Activation::identity && !e.bias && !e.z && !e.h;
    if (plain && b.layout != GemmLayout::panels) {
        const double back = 0.6 * static_cast<double>(m) * static_cast<double>(n);
        const double limit = std::min(dense, left) - back;
        if (skipping_cost(swapped(b), n, m, k, limit) < limit) return Zeros::right;
    }
    return left < dense ? Zeros::left : Zeros::none;
}

template <class T>
void gemm_sparse(Zeros zeros, const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride,
                 Index m, Index n, Index k, const GemmEpilogue<T>& e) {
    if (zeros == Zeros::left) {
        GemmSparse<T>(a, b, c, c_stride, m, n, k, false, e).run();
    } else {
        GemmSparse<T>(swapped(b), swapped(a), c, c_stride, n, m, k, true, e).run();
    }
}

#define FASTPROP_GEMM_SPARSE(T)                                                                 \
    template Zeros zeros_to_skip(const GemmLeft<T>&, const GemmRight<T>&, Index, Index, Index,  \
                                 const GemmEpilogue<T>&);                                       \
    template void gemm_sparse(Zeros, const GemmLeft<T>&, const GemmRight<T>&, T*, Index, Index, \
                              Index, Index, const GemmEpilogue<T>&);
FASTPROP_GEMM_SPARSE(float)
FASTPROP_GEMM_SPARSE(double)
#undef FASTPROP_GEMM_SPARSE

}  // namespace fastprop
