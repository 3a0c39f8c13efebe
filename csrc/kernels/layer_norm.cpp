/// @file
/// @brief Normalization by the statistics of rows, or of groups of neighbours in a row.

#include <algorithm>
#include <cmath>

#include "kernels/lanes.h"
#include "kernels/normalization.h"
#include "kernels/reduce.h"
#include "kernels/row_reduce.h"

namespace fastprop {
namespace {

/// f(k, at): every group of every row with its number, whose elements begin at `at`.
template <class F>
inline void for_groups(Index rows, Index columns, Index groups, const F& f) {
    const Index n = columns / groups;
    for (Index k = 0; k < rows * groups; ++k) f(k, k * n);
}

/// Sum of f(i, lanes), a packet of the elements from i on, over a group.
template <class T, class F>
inline T group_sum(Index n, const F& f) {
    return reduce_range<T, SumOf<T>>(n, f);
}

/// f(i, lanes) for every packet of n elements.
template <class T, class F>
inline void for_packets(Index n, const F& f) {
    constexpr Index w = Simd<T>::width;
    Index i = 0;
    for (; i + w <= n; i += w) f(i, w);
    if (i < n) f(i, n - i);
}

template <class T, int packets, bool partial>
void weight_sums(const T* x, const T* moments, const T* dy, T* sums, Index rows, Index columns,
                 Index groups, Index lanes) {
    using S = Simd<T>;
    const auto load = [&](const T* p) { return partial ? S::load_partial(p, lanes) : S::load(p); };
    PacketOf<T> dw[packets], db[packets];
    for (int k = 0; k < packets; ++k) dw[k] = db[k] = S::set(T(0));
    for (Index r = 0; r < rows;) {
        PacketOf<T> part_w[packets], part_b[packets];
        for (int k = 0; k < packets; ++k) part_w[k] = part_b[k] = S::set(T(0));
        for (const Index end = std::min(rows, r + kColumnBlock); r < end; ++r) {
            const PacketOf<T> mean = S::set(moments[2 * r * groups]);
            const PacketOf<T> rstd = S::set(moments[2 * r * groups + 1]);
            for (int k = 0; k < packets; ++k) {
                const Index at = r * columns + k * S::width;
                const PacketOf<T> d = load(dy + at);
                const PacketOf<T> xhat = pk::pmul(pk::psub(load(x + at), mean), rstd);
                part_w[k] = pk::pmadd(d, xhat, part_w[k]);
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
        scatter_lanes(to, dw[k], 2, lanes);
        scatter_lanes(to + 1, db[k], 2, lanes);
    }
}

}  // namespace

template <class T>
void layer_moments(const T* x, T* moments, Index rows, Index columns, Index groups, double eps,
                   bool centered) {
    const Index n = columns / groups;
    const T count = static_cast<T>(n);
    for_groups(rows, columns, groups, [&](Index k, Index at) {
        const T* from = x + at;
        const T mean = centered ? row_sum(from, n) / count : T(0);
        const Vec<T> shift = Simd<T>::set(mean);
        const T square = group_sum<T>(n, [&](Index i, Index lanes) {
            const Vec<T> d = pk::psub(Simd<T>::load_partial(from + i, lanes), shift);
            return pk::pmul(d, d);
        });
        moments[2 * k] = mean;
        moments[2 * k + 1] = T(1) / std::sqrt(square / count + static_cast<T>(eps));
    });
}

template <class T>
void layer_norm(const T* x, const T* moments, const T* w, const T* b, T* y, Index rows,
                Index columns, Index groups) {
    using S = Simd<T>;
    const Index n = columns / groups;
    for_groups(rows, columns, groups, [&](Index k, Index at) {
        const Vec<T> mean = S::set(moments[2 * k]), rstd = S::set(moments[2 * k + 1]);
        const Index column = k % groups * n;
        for_packets<T>(n, [&](Index i, Index lanes) {
            Vec<T> v = pk::pmul(pk::psub(S::load_partial(x + at + i, lanes), mean), rstd);
            if (b != nullptr) {
                v = pk::pmadd(v, S::load_partial(w + column + i, lanes),
                              S::load_partial(b + column + i, lanes));
            } else if (w != nullptr) {
                v = pk::pmul(v, S::load_partial(w + column + i, lanes));
            }
            S::store_partial(y + at + i, v, lanes);
        });
    });
}

template <class T>
void layer_norm_backward_weights(const T* x, const T* moments, const T* dy, T* sums, Index rows,
                                 Index columns, Index groups, Range part) {
    constexpr Index w = Simd<T>::width;
    const Index n = columns / groups;
    for (Index c = part.begin; c < part.end;) {
        const Index group = c / n;
        const Index end = std::min(part.end, (group + 1) * n);
        const auto pass = [&](auto kernel, Index lanes) {
            kernel(x + c, moments + 2 * group, dy + c, sums + 2 * c, rows, columns, groups, lanes);
        };
        for (; c + 2 * w <= end; c += 2 * w) pass(weight_sums<T, 2, false>, w);
        for (; c + w <= end; c += w) pass(weight_sums<T, 1, false>, w);
        if (c < end) {
            pass(weight_sums<T, 1, true>, end - c);
            c = end;
        }
    }
}

template <class T>
void layer_norm_backward_data(const T* x, const T* moments, const T* dy, const T* w, T* dx,
                              Index rows, Index columns, Index groups, bool centered) {
    using S = Simd<T>;
    const Index n = columns / groups;
    const T count = static_cast<T>(n);
    for_groups(rows, columns, groups, [&](Index k, Index at) {
        const Vec<T> mean = S::set(moments[2 * k]), rstd = S::set(moments[2 * k + 1]);
        const T* weight = w == nullptr ? nullptr : w + k % groups * n;
        const auto xhat = [&](Index i, Index lanes) {
            return pk::pmul(pk::psub(S::load_partial(x + at + i, lanes), mean), rstd);
        };
        const auto scaled = [&](Index i, Index lanes) {
            const Vec<T> d = S::load_partial(dy + at + i, lanes);
            return weight == nullptr ? d : pk::pmul(d, S::load_partial(weight + i, lanes));
        };
        const T sum = centered ? group_sum<T>(n, scaled) : T(0);
        const T dot = group_sum<T>(
            n, [&](Index i, Index lanes) { return pk::pmul(scaled(i, lanes), xhat(i, lanes)); });
        const Vec<T> shift = S::set(sum / count), slope = S::set(-dot / count);
        for_packets<T>(n, [&](Index i, Index lanes) {
            const Vec<T> d = pk::psub(scaled(i, lanes), shift);
            S::store_partial(dx + at + i, pk::pmul(rstd, pk::pmadd(xhat(i, lanes), slope, d)),
                             lanes);
        });
    });
}

#define FASTPROP_INSTANTIATE(T)                                                                   \
    template void layer_moments<T>(const T*, T*, Index, Index, Index, double, bool);              \
    template void layer_norm<T>(const T*, const T*, const T*, const T*, T*, Index, Index, Index); \
    template void layer_norm_backward_weights<T>(const T*, const T*, const T*, T*, Index, Index,  \
                                                 Index, Range);                                   \
    template void layer_norm_backward_data<T>(const T*, const T*, const T*, const T*, T*, Index,  \
                                              Index, Index, bool);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
