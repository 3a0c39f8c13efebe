#include "kernels/prelu.h"

#include <algorithm>

#include "kernels/row_reduce.h"

namespace fastprop {

namespace {

/// value where x > 0, slope * value elsewhere.
template <class T>
EIGEN_STRONG_INLINE Vec<T> leak(const Vec<T>& x, const Vec<T>& slope, const Vec<T>& value) {
    return pk::pselect(pk::pcmp_lt(Simd<T>::set(T(0)), x), value, pk::pmul(slope, value));
}

/// y = leak(x, slope, value), with a slope for every element.
template <class T>
void leak_elementwise(const T* x, const T* slope, const T* value, T* y, Index n) {
    using S = Simd<T>;
    for (Index i = 0; i < n; i += S::width) {
        const Index lanes = std::min<Index>(n - i, S::width);
        S::store_partial(y + i,
                         leak<T>(S::load_partial(x + i, lanes), S::load_partial(slope + i, lanes),
                                 S::load_partial(value + i, lanes)),
                         lanes);
    }
}

template <class T>
void leak_rows(const T* x, const T* slope, const T* value, T* y, const PreluShape& shape) {
    const Index run = shape.inner;
    for (Index r = 0; r < shape.rows; ++r) {
        const Index row = r * shape.channels * run;
        if (run == 1) {
            leak_elementwise(x + row, slope, value + row, y + row, shape.channels);
            continue;
        }
        for (Index c = 0; c < shape.channels; ++c) {
            const Vec<T> a = Simd<T>::set(slope[c]);
            const Index at = row + c * run;
            map_packets(x + at, value + at, y + at, run,
                        [a](const Vec<T>& u, const Vec<T>& v) { return leak<T>(u, a, v); });
        }
    }
}

/// x * dy where x is not positive, 0 elsewhere.
template <class T>
EIGEN_STRONG_INLINE Vec<T> slope_term(const Vec<T>& x, const Vec<T>& dy) {
    const Vec<T> zero = Simd<T>::set(T(0));
    return pk::pselect(pk::pcmp_lt(zero, x), zero, pk::pmul(x, dy));
}

/// One element a channel and row: columns, a packet of channels at a time.
template <class T>
void slope_columns(const T* x, const T* dy, T* dslope, const PreluShape& shape, Range channels) {
    using S = Simd<T>;
    for (Index c = channels.begin; c < channels.end; c += S::width) {
        const Index lanes = std::min<Index>(channels.end - c, S::width);
        Vec<T> sum = S::set(T(0));
        for (Index r = 0; r < shape.rows; ++r) {
            const Index at = r * shape.channels + c;
            sum = pk::padd(sum, slope_term<T>(S::load_partial(x + at, lanes),
                                              S::load_partial(dy + at, lanes)));
        }
        S::store_partial(dslope + c, sum, lanes);
    }
}

template <class T>
T slope_of_run(const T* x, const T* dy, Index n) {
    return reduce_range<T, SumOf<T>>(n, [x, dy](Index i, Index lanes) {
        return slope_term<T>(Simd<T>::load_partial(x + i, lanes),
                             Simd<T>::load_partial(dy + i, lanes));
    });
}

}  // namespace

template <class T>
void prelu_forward(const T* x, const T* slope, T* y, const PreluShape& shape) {
    leak_rows(x, slope, x, y, shape);
}

template <class T>
void prelu_backward_data(const T* x, const T* slope, const T* dy, T* dx, const PreluShape& shape) {
    leak_rows(x, slope, dy, dx, shape);
}

template <class T>
void prelu_backward_slope(const T* x, const T* dy, T* dslope, const PreluShape& shape,
                          Range channels) {
    if (shape.channels == 1) {
        if (!channels.empty()) dslope[0] = slope_of_run(x, dy, shape.rows * shape.inner);
        return;
    }
    if (shape.inner == 1) {
        slope_columns(x, dy, dslope, shape, channels);
        return;
    }
    for (Index c = channels.begin; c < channels.end; ++c) {
        T sum = T(0);
        for (Index r = 0; r < shape.rows; ++r) {
            const Index at = (r * shape.channels + c) * shape.inner;
            sum += slope_of_run(x + at, dy + at, shape.inner);
        }
        dslope[c] = sum;
    }
}

template void prelu_forward<float>(const float*, const float*, float*, const PreluShape&);
template void prelu_forward<double>(const double*, const double*, double*, const PreluShape&);
template void prelu_backward_data<float>(const float*, const float*, const float*, float*,
                                         const PreluShape&);
template void prelu_backward_data<double>(const double*, const double*, const double*, double*,
                                          const PreluShape&);
template void prelu_backward_slope<float>(const float*, const float*, float*, const PreluShape&,
                                          Range);
template void prelu_backward_slope<double>(const double*, const double*, double*, const PreluShape&,
                                           Range);

}  // namespace fastprop
