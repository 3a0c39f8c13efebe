/// @file
/// @brief Normalization by the statistics of columns.

#include <algorithm>

#include "kernels/lanes.h"
#include "kernels/normalization.h"
#include "kernels/reduce.h"

namespace fastprop {
namespace {

/// f(c, lanes) for every packet of columns; lanes is the width but for the last one.
template <class T, class F>
inline void for_columns(Index columns, const F& f) {
    constexpr Index w = Simd<T>::width;
    Index c = 0;
    for (; c + w <= columns; c += w) f(c, w);
    if (c < columns) f(c, columns - c);
}

/// Mean and sum of squared deviations of some rows, one column a lane.
template <class T>
struct Deviations {
    PacketOf<T> mean;
    PacketOf<T> square;

    /// Takes in `other` of m rows; this is of n.
    void merge(const Deviations& other, Index n, Index m) {
        using S = Simd<T>;
        const T share = static_cast<T>(m) / static_cast<T>(n + m);
        const PacketOf<T> delta = pk::psub(other.mean, mean);
        const PacketOf<T> spread =
            pk::pmul(pk::pmul(delta, delta), S::set(static_cast<T>(n) * share));
        mean = pk::pmadd(delta, S::set(share), mean);
        square = pk::padd(square, pk::padd(other.square, spread));
    }
};

/// So few rows that they are still in the first-level cache when they are read again, whatever the
/// stride: rows a power of two apart share a few sets of it.
constexpr Index kMomentRows = 8;

template <class T, int packets, bool partial>
void block_deviations(const T* x, Index stride, Index rows, Index lanes, const PacketOf<T>* shift,
                      Deviations<T>* out) {
    using S = Simd<T>;
    const auto load = [&](Index r, int k) {
        const T* p = x + r * stride + k * S::width;
        return pk::psub(partial ? S::load_partial(p, lanes) : S::load(p), shift[k]);
    };
    const PacketOf<T> share = S::set(T(1) / static_cast<T>(rows));
    PacketOf<T> sum[packets], square[packets], mean[packets];
    for (int k = 0; k < packets; ++k) sum[k] = load(0, k);
    for (Index r = 1; r < rows; ++r)
        for (int k = 0; k < packets; ++k) sum[k] = pk::padd(sum[k], load(r, k));
    for (int k = 0; k < packets; ++k) {
        mean[k] = pk::pmul(sum[k], share);
        square[k] = S::set(T(0));
    }
    for (Index r = 0; r < rows; ++r) {
        for (int k = 0; k < packets; ++k) {
            const PacketOf<T> d = pk::psub(load(r, k), mean[k]);
            square[k] = pk::pmadd(d, d, square[k]);
        }
    }
    for (int k = 0; k < packets; ++k) out[k] = {mean[k], square[k]};
}

/// Blocks of kMomentRows are combined to blocks of kColumnBlock rows, and these to the whole. All
/// of them less the first row: else the means' rounding would show where they are far from zero.
template <class T, int packets, bool partial>
void moments_of_columns(const T* x, Index stride, T* moments, Index rows, Index lanes, double eps) {
    using S = Simd<T>;
    PacketOf<T> shift[packets];
    for (int k = 0; k < packets; ++k)
        shift[k] = S::load_partial(x + k * S::width, partial ? lanes : Index{S::width});
    Deviations<T> all[packets] = {};
    for (Index begin = 0; begin < rows; begin += kColumnBlock) {
        const Index size = std::min(kColumnBlock, rows - begin);
        Deviations<T> block[packets] = {};
        for (Index done = 0; done < size; done += kMomentRows) {
            const Index few = std::min(kMomentRows, size - done);
            Deviations<T> part[packets];
            block_deviations<T, packets, partial>(x + (begin + done) * stride, stride, few, lanes,
                                                  shift, part);
            for (int k = 0; k < packets; ++k) block[k].merge(part[k], done, few);
        }
        for (int k = 0; k < packets; ++k) all[k].merge(block[k], begin, size);
    }
    const PacketOf<T> count = S::set(static_cast<T>(rows));
    const PacketOf<T> less = S::set(static_cast<T>(rows > 1 ? rows - 1 : 1));
    for (int k = 0; k < packets; ++k) {
        const PacketOf<T> variance = pk::pdiv(all[k].square, count);
        const PacketOf<T> root = pk::psqrt(pk::padd(variance, S::set(static_cast<T>(eps))));
        T* to = moments + k * S::width * kBatchMoments;
        scatter_lanes(to, pk::padd(all[k].mean, shift[k]), kBatchMoments, lanes);
        scatter_lanes(to + 1, pk::pdiv(S::set(T(1)), root), kBatchMoments, lanes);
        scatter_lanes(to + 2, pk::pdiv(all[k].square, less), kBatchMoments, lanes);
    }
}

/// What a column's elements are moved and scaled by, for `rows` rows at once: the numbers of a
/// column are loaded once for all of them.
template <class T, int rows, bool affine>
void normalize_rows(const T* x, const T* mean, const T* rstd, const T* w, const T* b, T* y,
                    Index columns) {
    using S = Simd<T>;
    for_columns<T>(columns, [&](Index c, Index n) {
        const PacketOf<T> m = S::load_partial(mean + c, n), s = S::load_partial(rstd + c, n);
        PacketOf<T> weight = m, bias = m;
        if (affine) {
            weight = S::load_partial(w + c, n);
            bias = S::load_partial(b + c, n);
        }
        for (int r = 0; r < rows; ++r) {
            const Index at = r * columns + c;
            PacketOf<T> v = pk::pmul(pk::psub(S::load_partial(x + at, n), m), s);
            if (affine) v = pk::pmadd(v, weight, bias);
            S::store_partial(y + at, v, n);
        }
    });
}

template <class T, bool affine>
void normalize(const T* x, const T* mean, const T* rstd, const T* w, const T* b, T* y, Index rows,
               Index columns) {
    Index r = 0;
    for (; r + 4 <= rows; r += 4)
        normalize_rows<T, 4, affine>(x + r * columns, mean, rstd, w, b, y + r * columns, columns);
    for (; r < rows; ++r)
        normalize_rows<T, 1, affine>(x + r * columns, mean, rstd, w, b, y + r * columns, columns);
}

template <class T, int packets, bool partial>
void weight_sums(const T* x, const T* mean, const T* rstd, const T* dy, T* sums, Index rows,
                 Index stride, Index lanes) {
    using S = Simd<T>;
    const auto load = [&](const T* p) { return partial ? S::load_partial(p, lanes) : S::load(p); };
    PacketOf<T> m[packets], dw[packets], db[packets];
    for (int k = 0; k < packets; ++k) {
        m[k] = load(mean + k * S::width);
        dw[k] = db[k] = S::set(T(0));
    }
    for (Index r = 0; r < rows;) {
        PacketOf<T> part_w[packets], part_b[packets];
        for (int k = 0; k < packets; ++k) part_w[k] = part_b[k] = S::set(T(0));
        for (const Index end = std::min(rows, r + kColumnBlock); r < end; ++r) {
            for (int k = 0; k < packets; ++k) {
                const Index at = r * stride + k * S::width;
                const PacketOf<T> d = load(dy + at);
                part_w[k] = pk::pmadd(d, pk::psub(load(x + at), m[k]), part_w[k]);
                part_b[k] = pk::padd(part_b[k], d);
            }
        }
        for (int k = 0; k < packets; ++k) {
            dw[k] = pk::padd(dw[k], part_w[k]);
            db[k] = pk::padd(db[k], part_b[k]);
        }
    }
    for (int k = 0; k < packets; ++k) {
        T* to = sums + 2 * k * S::width;
        scatter_lanes(to, pk::pmul(dw[k], load(rstd + k * S::width)), 2, lanes);
        scatter_lanes(to + 1, db[k], 2, lanes);
    }
}

template <class T, int rows>
void data_gradient_rows(const T* x, const T* mean, const T* rstd, const T* dy, const T* dw,
                        const T* db, const T* w, T* dx, Index columns, T share) {
    using S = Simd<T>;
    for_columns<T>(columns, [&](Index c, Index n) {
        const PacketOf<T> m = S::load_partial(mean + c, n), s = S::load_partial(rstd + c, n);
        const PacketOf<T> scale = w == nullptr ? s : pk::pmul(S::load_partial(w + c, n), s);
        const PacketOf<T> shift = pk::pmul(S::load_partial(db + c, n), S::set(share));
        const PacketOf<T> slope = pk::pmul(pk::pmul(S::load_partial(dw + c, n), S::set(-share)), s);
        for (int r = 0; r < rows; ++r) {
            const Index at = r * columns + c;
            const PacketOf<T> d = pk::psub(S::load_partial(dy + at, n), shift);
            const PacketOf<T> centered = pk::psub(S::load_partial(x + at, n), m);
            S::store_partial(dx + at, pk::pmul(scale, pk::pmadd(centered, slope, d)), n);
        }
    });
}

}  // namespace

template <class T>
void batch_moments(const T* x, T* moments, Index rows, Index columns, Range part, double eps) {
    constexpr Index w = Simd<T>::width;
    Index c = part.begin;
    for (; c + 4 * w <= part.end; c += 4 * w)
        moments_of_columns<T, 4, false>(x + c, columns, moments + kBatchMoments * c, rows, w, eps);
    for (; c + w <= part.end; c += w)
        moments_of_columns<T, 1, false>(x + c, columns, moments + kBatchMoments * c, rows, w, eps);
    if (c < part.end)
        moments_of_columns<T, 1, true>(x + c, columns, moments + kBatchMoments * c, rows,
                                       part.end - c, eps);
}

template <class T>
void running_moments(const T* moments, T* mean, T* variance, Range part, double share) {
    const T latest = static_cast<T>(share), before = static_cast<T>(1.0 - share);
    for (Index c = part.begin; c < part.end; ++c) {
        mean[c] = before * mean[c] + latest * moments[kBatchMoments * c];
        variance[c] = before * variance[c] + latest * moments[kBatchMoments * c + 2];
    }
}

template <class T>
void batch_norm(const T* x, const T* mean, const T* rstd, const T* w, const T* b, T* y, Index rows,
                Index columns) {
    const auto pass = w != nullptr ? normalize<T, true> : normalize<T, false>;
    pass(x, mean, rstd, w, b, y, rows, columns);
}

template <class T>
void batch_norm_backward_weights(const T* x, const T* mean, const T* rstd, const T* dy, T* sums,
                                 Index rows, Index columns, Range part) {
    constexpr Index w = Simd<T>::width;
    const auto pass = [&](auto kernel, Index c, Index lanes) {
        kernel(x + c, mean + c, rstd + c, dy + c, sums + 2 * c, rows, columns, lanes);
    };
    Index c = part.begin;
    for (; c + 2 * w <= part.end; c += 2 * w) pass(weight_sums<T, 2, false>, c, w);
    for (; c + w <= part.end; c += w) pass(weight_sums<T, 1, false>, c, w);
    if (c < part.end) pass(weight_sums<T, 1, true>, c, part.end - c);
}

template <class T>
void batch_norm_backward_data(const T* x, const T* mean, const T* rstd, const T* dy, const T* dw,
                              const T* db, const T* w, T* dx, Index rows, Index columns,
                              Index batch) {
    const T share = T(1) / static_cast<T>(batch);
    const auto pass = [&](auto kernel, Index r) {
        const Index at = r * columns;
        kernel(x + at, mean, rstd, dy + at, dw, db, w, dx + at, columns, share);
    };
    Index r = 0;
    for (; r + 4 <= rows; r += 4) pass(data_gradient_rows<T, 4>, r);
    for (; r < rows; ++r) pass(data_gradient_rows<T, 1>, r);
}

#define FASTPROP_INSTANTIATE(T)                                                                 \
    template void running_moments<T>(const T*, T*, T*, Range, double);                          \
    template void batch_moments<T>(const T*, T*, Index, Index, Range, double);                  \
    template void batch_norm<T>(const T*, const T*, const T*, const T*, const T*, T*, Index,    \
                                Index);                                                         \
    template void batch_norm_backward_weights<T>(const T*, const T*, const T*, const T*, T*,    \
                                                 Index, Index, Range);                          \
    template void batch_norm_backward_data<T>(const T*, const T*, const T*, const T*, const T*, \
                                              const T*, const T*, T*, Index, Index, Index);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
