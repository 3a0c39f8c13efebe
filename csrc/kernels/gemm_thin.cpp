#include "kernels/gemm_thin.h"

#include <algorithm>

#include "kernels/gemm_tile.h"

// A packet as a template argument loses its alignment attribute, which a local variable does not
// need.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wignored-attributes"
#endif

namespace fastprop {
namespace {

/// kGroups times `width` rows of A times x; rows from `rows` on are read as the last one.
template <class T, int kGroups>
void gemv_rows(const T* a, Index a_stride, const T* x, Index x_step, T* y, Index rows, Index k) {
    using S = Simd<T>;
    using Packet = typename S::Packet;
    constexpr int width = S::width;
    const T* from[kGroups * width];
    for (int r = 0; r < kGroups * width; ++r) from[r] = a + std::min<Index>(r, rows - 1) * a_stride;
    Packet sum[kGroups];
    FASTPROP_UNROLL
    for (int g = 0; g < kGroups; ++g) sum[g] = S::set(T(0));
    Index i = 0;
    for (; i + width <= k; i += width) {
        FASTPROP_UNROLL
        for (int g = 0; g < kGroups; ++g) {
            pk::PacketBlock<Packet, width> block;
            FASTPROP_UNROLL
            for (int r = 0; r < width; ++r) block.packet[r] = S::load(from[g * width + r] + i);
            pk::ptranspose(block);
            FASTPROP_UNROLL
            for (int l = 0; l < width; ++l) {
                sum[g] = pk::pmadd(block.packet[l], S::set(x[(i + l) * x_step]), sum[g]);
            }
        }
    }
    for (; i < k; ++i) {
        const Packet right = S::set(x[i * x_step]);
        FASTPROP_UNROLL
        for (int g = 0; g < kGroups; ++g) {
            alignas(64) T column[width];
            for (int r = 0; r < width; ++r) column[r] = from[g * width + r][i];
            sum[g] = pk::pmadd(pk::pload<Packet>(column), right, sum[g]);
        }
    }
    FASTPROP_UNROLL
    for (int g = 0; g < kGroups; ++g) {
        const Index left = std::min<Index>(rows - g * width, width);
        if (left > 0) S::store_partial(y + g * width, sum[g], left);
    }
}

/// y = A x. Squares of A are transposed in registers, so that packets lie along its rows; a copy in
/// that order, as for a large product, took twice the time on Zen 3.
template <class T>
void gemv(const T* a, Index a_stride, const T* x, Index x_step, T* y, Index m, Index k) {
    constexpr Index width = Simd<T>::width;
    Index i = 0;
    for (; i + width < m; i += 2 * width) {
        gemv_rows<T, 2>(a + i * a_stride, a_stride, x, x_step, y + i, std::min(m - i, 2 * width),
                        k);
    }
    if (i < m) gemv_rows<T, 1>(a + i * a_stride, a_stride, x, x_step, y + i, m - i, k);
}

/// What remains to be done to n finished sums of a row or a column, from element `at` of C on.
template <class T>
void finish(T* c, Index at, Index n, const T* bias, bool scalar_bias, const GemmEpilogue<T>& e) {
    using S = Simd<T>;
    if (bias != nullptr) {
        for (Index j = 0; j < n; j += S::width) {
            const Index lanes = std::min<Index>(n - j, S::width);
            const auto right = scalar_bias ? S::set(*bias) : S::load_partial(bias + j, lanes);
            S::store_partial(c + j, pk::padd(S::load_partial(c + j, lanes), right), lanes);
        }
    }
    if (e.z != nullptr) std::copy(c, c + n, e.z + at);
    if (e.activation == Activation::identity) return;
    if (e.h != nullptr) {
        activation_backward(e.activation, e.p0, e.p1, e.h + at, c, c, n);
    } else {
        activation_forward(e.activation, e.p0, e.p1, c, c, n);
    }
}

/// One row of C = a b, with what the epilogue does in registers.
template <class T>
struct OuterRow {
    using S = Simd<T>;
    using Packet = typename S::Packet;

    Packet left;
    const T* b;
    const T* bias;
    const T* mask;
    T* z;
    T* c;
    bool relu;

    template <bool kWhole>
    EIGEN_ALWAYS_INLINE void packet(Index j, Index lanes) const {
        const auto load = [&](const T* p) {
            return kWhole ? S::load(p + j) : S::load_partial(p + j, lanes);
        };
        const auto store = [&](T* p, const Packet& v) {
            kWhole ? S::store(p + j, v) : S::store_partial(p + j, v, lanes);
        };
        Packet y = pk::pmadd(left, load(b), S::set(T(0)));
        if (bias) y = pk::padd(y, load(bias));
        if (mask) y = tile::relu_mask<T>(y, load(mask));
        if (z) store(z, y);
        if (relu) y = tile::relu<T>(y);
        store(c, y);
    }
};

/// C = a b: a column times a row.
template <class T>
void outer(const T* a, Index a_step, const T* b, T* c, Index c_stride, Index m, Index n,
           const GemmEpilogue<T>& e) {
    constexpr Index width = Simd<T>::width;
    const bool relu = e.activation == Activation::relu;
    const bool backward = e.h != nullptr;
    for (Index i = 0; i < m; ++i) {
        const Index at = i * c_stride;
        const OuterRow<T> row = {Simd<T>::set(a[i * a_step]),
                                 b,
                                 e.bias,
                                 relu && backward ? e.h + at : nullptr,
                                 e.z ? e.z + at : nullptr,
                                 c + at,
                                 relu && !backward};
        Index j = 0;
        for (; j + width <= n; j += width) row.template packet<true>(j, width);
        if (j < n) row.template packet<false>(j, n - j);
        if (relu || e.activation == Activation::identity) continue;
        GemmEpilogue<T> rest = e;
        rest.z = nullptr;
        finish<T>(c + at, at, n, nullptr, false, rest);
    }
}

}  // namespace

template <class T>
bool gemm_thin(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
               Index k, const GemmEpilogue<T>& e) {
    const bool transposed = b.layout == GemmLayout::transposed;
    if (k == 1 && n > 1 && !e.scalar_bias && (!transposed || b.stride == 1)) {
        outer(a.data, a.transposed ? 1 : a.stride, b.data, c, c_stride, m, n, e);
        return true;
    }
    if (n == 1 && c_stride == 1 && m > 1 && !a.transposed) {
        const Index step = transposed                       ? 1
                           : b.layout == GemmLayout::panels ? GemmTile<T>::columns
                                                            : b.stride;
        gemv(a.data, a.stride, b.data, step, c, m, k);
        finish(c, 0, m, e.bias, true, e);
        return true;
    }
    if (m == 1 && transposed) {
        gemv(b.data, b.stride, a.data, a.transposed ? a.stride : 1, c, n, k);
        finish(c, 0, n, e.bias, e.scalar_bias, e);
        return true;
    }
    return false;
}

template bool gemm_thin(const GemmLeft<float>&, const GemmRight<float>&, float*, Index, Index,
                        Index, Index, const GemmEpilogue<float>&);
template bool gemm_thin(const GemmLeft<double>&, const GemmRight<double>&, double*, Index, Index,
                        Index, Index, const GemmEpilogue<double>&);

}  // namespace fastprop
