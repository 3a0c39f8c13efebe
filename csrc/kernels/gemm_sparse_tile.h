#pragma once
/// @file
/// @brief The tile of a product that skips zeros: one row of A times a group of panels of B.
///
/// Each row skips its own zeros. It is as wide as there are registers for sums, since every packet
/// of B serves one multiply-add; that needs B in a first-level cache, so B comes in blocks: a group
/// of panels times some 64 steps of k. Which steps count is a bit each.

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/gemm_tile.h"
#include "kernels/lane_mask.h"

namespace fastprop::sparse {

/// Panels of a group, 14 of 16 registers. (4 and 6 took 1.02 and 0.99 of the time on Zen 3, 32 and
/// 48 steps of k 1.13 and 1.04.)
inline constexpr int kMostPanels = 7;

using Mask = std::uint64_t;

template <class T>
constexpr Index kWidth = GemmTile<T>::columns;

/// Steps of k in a block: 4 KB of a panel.
template <class T>
constexpr Index kSteps = std::min<Index>(64, 4096 / (kWidth<T> * Index{sizeof(T)}));

/// Rows of a block of A times a block of B.
template <class T>
struct RowsCall {
    const T* a;
    Index a_stride;
    const Mask* masks;  ///< a bit for each step of k that counts
    const T* b;
    Index b_panel;
    T* sums;  ///< as wide as the group, a row for each row
    bool resume;
    bool last;
    TileCall<T> out;  ///< where finished sums go, or nowhere
};

/// Does any lane hold -0?
template <class T, int kPackets>
bool has_negative_zero(const typename Simd<T>::Packet (&acc)[1][kPackets]) {
    const auto zero = Simd<T>::set(T(0));
    auto found = pk::pcmp_eq(acc[0][0], zero);
    FASTPROP_UNROLL
    for (int v = 1; v < kPackets; ++v) found = pk::por(found, pk::pcmp_eq(acc[0][v], zero));
    if (lane_mask<T>(found) == 0) return false;
    found = zero;  // a lane's sign is that of a zero
    for (int v = 0; v < kPackets; ++v)
        found = pk::por(found, pk::pand(pk::pcmp_eq(acc[0][v], zero), acc[0][v]));
    return lane_mask<T>(found) != 0;
}

template <class T, int kPackets>
void finish_row(TileCall<T> out, T* sums, Index row, typename Simd<T>::Packet (&acc)[1][kPackets]) {
    out.c += row * out.c_stride;
    if (out.mask) out.mask += row * out.c_stride;
    if (out.z) out.z += row * out.c_stride;
    if (out.columns == kPackets * Simd<T>::width) {
        tile::finish<T, 1, kPackets>(out, acc);
        return;
    }
    FASTPROP_UNROLL
    for (int v = 0; v < kPackets; ++v) pk::pstore(sums + v * Simd<T>::width, acc[0][v]);
    tile::finish_partial(out, sums, 1, kPackets);
}

/// Rows [begin, end). With `unsure`, rows that come to -0 somewhere are not finished but noted: a
/// product underflowed to that, and zeros that were skipped may have turned it into +0.
template <class T, int kPanels>
void run_rows(const RowsCall<T>& call, Index begin, Index end, std::vector<Index>* unsure) {
    using S = Simd<T>;
    using Packet = typename S::Packet;
    constexpr int each = GemmTile<T>::packets, packets = kPanels * each;
    constexpr Index columns = kPanels * kWidth<T>;
    const RowsCall<T> t = call;  // a copy that stores through T* cannot alias
    const char* panel[kPanels];
    FASTPROP_UNROLL
    for (int p = 0; p < kPanels; ++p) panel[p] = reinterpret_cast<const char*>(t.b + p * t.b_panel);
    for (Index i = begin; i < end; ++i) {
        T* sums = t.sums + i * columns;
        Packet acc[1][packets];
        FASTPROP_UNROLL
        for (int v = 0; v < packets; ++v)
            acc[0][v] = t.resume ? pk::pload<Packet>(sums + v * S::width) : S::set(T(0));
        const T* a = t.a + i * t.a_stride;
        tile::hold_pointer(a);
        for (Mask left = t.masks[i]; left != 0; left &= left - 1) {
            const int k = lowest_bit(left);
            const Packet x = S::set(a[k]);
            // One offset for all panels, in bytes: 19 instructions for 14 multiply-adds.
            const Index offset = k * (kWidth<T> * Index{sizeof(T)});
            FASTPROP_UNROLL
            for (int v = 0; v < packets; ++v) {
                const T* from = reinterpret_cast<const T*>(panel[v / each] + offset);
                acc[0][v] = pk::pmadd(x, S::load(from + v % each * S::width), acc[0][v]);
            }
        }
        if (t.last && unsure != nullptr && has_negative_zero<T>(acc)) {
            unsure->push_back(i);
        } else if (t.last && t.out.c != nullptr) {
            finish_row<T>(t.out, sums, i, acc);
        } else {
            FASTPROP_UNROLL
            for (int v = 0; v < packets; ++v) pk::pstore(sums + v * S::width, acc[0][v]);
        }
    }
}

template <class T>
using RowsFunction = void (*)(const RowsCall<T>&, Index, Index, std::vector<Index>*);

template <class T, std::size_t... kIndex>
constexpr auto rows_table(std::index_sequence<kIndex...>) {
    return std::array<RowsFunction<T>, sizeof...(kIndex)>{
        &run_rows<T, static_cast<int>(kIndex) + 1>...};
}

template <class T>
constexpr auto kRunRows = rows_table<T>(std::make_index_sequence<kMostPanels>());

}  // namespace fastprop::sparse
