#include "kernels/gemm_thin.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/gemm_tile.h"
#include "kernels/gemv.h"

namespace fastprop {
namespace {

/// y = A x, for kGroups times `width` rows; those from `rows` on are read as the last one.
template <class T, int kGroups>
void gemv_group(const T* a, Index a_stride, const T* x, Index x_step, T* y, Index rows, Index k) {
    constexpr int count = kGroups * Simd<T>::width;
    const T* from[count];
    for (int r = 0; r < count; ++r) from[r] = a + std::min<Index>(r, rows - 1) * a_stride;
    gemv_rows<T, kGroups>(from, x, x_step, y, rows, k);
}

/// y = A x.
template <class T>
void gemv(const T* a, Index a_stride, const T* x, Index x_step, T* y, Index m, Index k) {
    constexpr Index width = Simd<T>::width;
    Index i = 0;
    for (; i + width < m; i += 2 * width) {
        gemv_group<T, 2>(a + i * a_stride, a_stride, x, x_step, y + i, std::min(m - i, 2 * width),
                         k);
    }
    if (i < m) gemv_group<T, 1>(a + i * a_stride, a_stride, x, x_step, y + i, m - i, k);
}

/// What is done in registers to a finished sum: what is usual, without a branch.
enum class Finish { nothing, bias_relu, mask, any };

/// Some columns of a product of few steps of k.
template <class T>
struct ShallowCall {
    const T* a;
    Index a_row, a_step;  ///< from a row to the next, from a step to the next
    const T* b;
    Index b_step;
    T* c;
    Index c_stride;
    const T* bias;
    const T* mask;  ///< at c's strides, and so is z
    T* z;
    bool relu;
    Index lanes;  ///< of the last packet
};

/// B stays in registers, rows of C pass by: a tile would be started and stored every few
/// multiply-adds (32 x 4 x 64 took 2.5 times the instructions).
template <class T, int kSteps, int kPackets, Finish kFinish>
void shallow_columns(const ShallowCall<T>& call, Index rows) {
    using S = Simd<T>;
    using Packet = typename S::Packet;
    ShallowCall<T> t = call;
    const auto load = [&t](const T* p, int v) {
        return kPackets > 1 ? S::load(p + v * S::width) : S::load_partial(p, t.lanes);
    };
    const auto store = [&t](T* p, int v, const Packet& x) {
        kPackets > 1 ? S::store(p + v * S::width, x) : S::store_partial(p, x, t.lanes);
    };
    Packet right[kSteps][kPackets];
    FASTPROP_UNROLL
    for (int k = 0; k < kSteps; ++k) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) {
            right[k][v] = load(t.b + k * t.b_step, v);
            tile::hold_packet(right[k][v]);
        }
    }
    Packet bias[kPackets];
    FASTPROP_UNROLL
    for (int v = 0; v < kPackets; ++v) bias[v] = t.bias ? load(t.bias, v) : S::set(T(0));
    for (Index i = 0; i < rows; ++i, t.a += t.a_row, t.c += t.c_stride) {
        Packet sum[kPackets];
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) sum[v] = S::set(T(0));
        FASTPROP_UNROLL
        for (int k = 0; k < kSteps; ++k) {
            const Packet left = S::set(t.a[k * t.a_step]);
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) sum[v] = pk::pmadd(left, right[k][v], sum[v]);
        }
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) {
            if (kFinish == Finish::bias_relu) sum[v] = tile::relu<T>(pk::padd(sum[v], bias[v]));
            if (kFinish == Finish::mask)
                sum[v] = tile::relu_mask<T>(sum[v], load(t.mask + i * t.c_stride, v));
            if (kFinish == Finish::any) {
                if (t.bias) sum[v] = pk::padd(sum[v], bias[v]);
                if (t.mask) sum[v] = tile::relu_mask<T>(sum[v], load(t.mask + i * t.c_stride, v));
                if (t.z) store(t.z + i * t.c_stride, v, sum[v]);
                if (t.relu) sum[v] = tile::relu<T>(sum[v]);
            }
            store(t.c, v, sum[v]);
        }
    }
}

template <class T>
using ShallowColumns = void (*)(const ShallowCall<T>&, Index);

template <class T, int kPackets, Finish kFinish, std::size_t... kIndex>
constexpr auto shallow_table(std::index_sequence<kIndex...>) {
    return std::array<ShallowColumns<T>, sizeof...(kIndex)>{
        &shallow_columns<T, static_cast<int>(kIndex) + 1, kPackets, kFinish>...};
}

/// Steps whose packets of B fit in 16 registers beside two sums and an element of A.
constexpr Index kShallowSteps = 6;

template <class T, int kPackets, Finish kFinish>
constexpr auto kShallow =
    shallow_table<T, kPackets, kFinish>(std::make_index_sequence<kShallowSteps>());

template <class T, int kPackets>
ShallowColumns<T> shallow_for(Index k, Finish finish) {
    const auto at = static_cast<std::size_t>(k - 1);
    switch (finish) {
        case Finish::nothing:
            return kShallow<T, kPackets, Finish::nothing>[at];
        case Finish::bias_relu:
            return kShallow<T, kPackets, Finish::bias_relu>[at];
        case Finish::mask:
            return kShallow<T, kPackets, Finish::mask>[at];
        case Finish::any:
            break;
    }
    return kShallow<T, kPackets, Finish::any>[at];
}

/// Bytes of C that are written before the next rows begin: they stay in a first-level cache.
constexpr Index kShallowBytes = 32 * 1024;

template <class T>
void shallow(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
             Index k, const GemmEpilogue<T>& e) {
    constexpr Index width = Simd<T>::width, panel = GemmTile<T>::columns;
    const bool panels = b.layout == GemmLayout::panels;
    const bool relu = e.activation == Activation::relu, backward = e.h != nullptr;
    const bool masked = relu && backward, activated = relu && !backward;
    Finish how = Finish::any;
    if (e.z == nullptr && e.bias == nullptr && !activated)
        how = masked ? Finish::mask : Finish::nothing;
    else if (e.z == nullptr && e.bias != nullptr && activated)
        how = Finish::bias_relu;
    const Index block = std::max<Index>(8, kShallowBytes / (n * Index{sizeof(T)}));
    for (Index i = 0; i < m; i += block) {
        const Index rows = std::min(block, m - i);
        for (Index next = 0, j; next < n;) {
            const bool pair = n - next >= 2 * width;
            // The last packet may overlap the one before, since what both hold comes out the same,
            // unless C takes the place of h.
            const bool overlaps = n - next < width && n > width && !panels && !masked;
            j = overlaps ? n - width : next;
            const Index at = i * c_stride + j;
            ShallowCall<T> t = {};
            t.a = a.data + i * (a.transposed ? 1 : a.stride);
            t.a_row = a.transposed ? 1 : a.stride;
            t.a_step = a.transposed ? a.stride : 1;
            t.b = panels ? b.data + j / panel * b.stride + j % panel : b.data + j;
            t.b_step = panels ? panel : b.stride;
            t.c = c + at;
            t.c_stride = c_stride;
            t.bias = e.bias ? e.bias + j : nullptr;
            t.mask = masked ? e.h + at : nullptr;
            t.z = e.z ? e.z + at : nullptr;
            t.relu = activated;
            t.lanes = std::min(width, n - j);
            (pair ? shallow_for<T, 2>(k, how) : shallow_for<T, 1>(k, how))(t, rows);
            next = j + (pair ? 2 * width : width);
        }
        if (relu || e.activation == Activation::identity) continue;
        GemmEpilogue<T> rest = e;
        rest.z = nullptr;
        for (Index r = i; r < i + rows; ++r) {
            const Index at = r * c_stride;
            finish_sums<T>(c + at, at, n, nullptr, false, rest);
        }
    }
}

}  // namespace

template <class T>
bool gemm_thin(const GemmLeft<T>& a, const GemmRight<T>& b, T* c, Index c_stride, Index m, Index n,
               Index k, const GemmEpilogue<T>& e) {
    const bool transposed = b.layout == GemmLayout::transposed;
    const bool in_order = !transposed || (k == 1 && b.stride == 1);
    if (k > 0 && k <= kShallowSteps && n > 1 && !e.scalar_bias && in_order) {
        shallow(a, b, c, c_stride, m, n, k, e);
        return true;
    }
    if (n == 1 && c_stride == 1 && m > 1 && !a.transposed) {
        const Index step = transposed                       ? 1
                           : b.layout == GemmLayout::panels ? GemmTile<T>::columns
                                                            : b.stride;
        gemv(a.data, a.stride, b.data, step, c, m, k);
        finish_sums(c, 0, m, e.bias, true, e);
        return true;
    }
    if (m == 1 && transposed) {
        gemv(b.data, b.stride, a.data, a.transposed ? a.stride : 1, c, n, k);
        finish_sums(c, 0, n, e.bias, e.scalar_bias, e);
        return true;
    }
    return false;
}

template bool gemm_thin(const GemmLeft<float>&, const GemmRight<float>&, float*, Index, Index,
                        Index, Index, const GemmEpilogue<float>&);
template bool gemm_thin(const GemmLeft<double>&, const GemmRight<double>&, double*, Index, Index,
                        Index, Index, const GemmEpilogue<double>&);

}  // namespace fastprop
