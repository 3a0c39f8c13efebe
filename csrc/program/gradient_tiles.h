#pragma once
/// @file
/// @brief The gradient of a dense layer's weights, x^T dz, a tile of rows after the other.
///
/// An update that takes x and dz instead of the gradient reads each tile while it is in cache, so
/// the gradient of all weights is never written to memory nor fetched from it. Bits are those of
/// dense_backward_weights: an element is one chain of multiply-adds either way.

#include <algorithm>

#include "core/aligned_buffer.h"
#include "kernels/dense.h"
#include "kernels/pack.h"
#include "program/op.h"

namespace fastprop {

/// Bytes of a tile. Beside it the rows of w, m and v pass through a second-level cache of 512 KB:
/// with 192 KB 784 x 512 took 0.73 (8 rows of the batch) and 0.94 (128), with 256 KB 0.91 and 0.93.
constexpr Index kGradientTileBytes = 192 * 1024;
/// Columns and rows of dz from which it is packed once for all tiles instead of once for each.
constexpr Index kPackedColumns = 128;
constexpr Index kPackedRows = 13;
/// Rows of a tile come in multiples of this, so that register tiles are full.
constexpr Index kGradientTileUnit = 12;

/// f(tile, gradient) for tiles of `rows` of x^T dz; the gradient begins with the tile's first row.
template <class T, class F>
void for_gradient_tiles(const TensorView& x, const TensorView& dz, Range rows, const F& f) {
    const Index batch = x.outer(), in = x.last(), out = dz.last();
    if (rows.empty() || out == 0) return;
    const Index most = std::max<Index>(1, kGradientTileBytes / (out * Index{sizeof(T)}));
    const Index tiles = ceil_div(rows.size(), round_up(most, kGradientTileUnit));
    const Index height = round_up(ceil_div(rows.size(), tiles), kGradientTileUnit);
    const bool packs = tiles > 1 && out >= kPackedColumns && batch >= kPackedRows;

    const Index tile_size = std::min(height, rows.size()) * out;
    const std::size_t tile_bytes = align_up(static_cast<std::size_t>(tile_size) * sizeof(T));
    const Index panels_size = packs ? packed_size<T>(batch, out) : 0;
    char* scratch = static_cast<char*>(
        thread_scratch(tile_bytes + static_cast<std::size_t>(panels_size) * sizeof(T)));
    T* gradient = reinterpret_cast<T*>(scratch);
    T* panels = reinterpret_cast<T*>(scratch + tile_bytes);
    if (packs) pack_rows(dz.as<const T>(), panels, batch, out, {0, batch});

    for (Index i = rows.begin; i < rows.end; i += height) {
        const Range tile = {i, std::min(i + height, rows.end)};
        T* first_row = gradient - i * out;
        if (packs)
            dense_backward_weights_packed(x.as<const T>(), panels, first_row, batch, in, out, tile);
        else
            dense_backward_weights(x.as<const T>(), dz.as<const T>(), first_row, batch, in, out,
                                   tile);
        f(tile, gradient);
    }
}

}  // namespace fastprop
