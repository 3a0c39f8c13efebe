#include "kernels/softmax.h"

#include "kernels/math.h"
#include "kernels/row_reduce.h"

namespace fastprop {

/// The exponentials are stored and then summed: a second pass over a row in cache costs less than
/// the care that a sum of padded lanes needs.
template <class T>
void softmax_forward(const T* x, T* y, Index rows, Index n) {
    for (Index r = 0; r < rows; ++r, x += n, y += n) {
        const Vec<T> shift = Simd<T>::set(row_max(x, n));
        map_packets(x, y, n,
                    [shift](const Vec<T>& v) { return exp_normal_packet<T>(pk::psub(v, shift)); });
        const Vec<T> scale = Simd<T>::set(T(1) / row_sum(y, n));
        map_packets(y, y, n, [scale](const Vec<T>& v) { return pk::pmul(v, scale); });
    }
}

template <class T>
void softmax_backward(const T* y, const T* dy, T* dx, Index rows, Index n) {
    for (Index r = 0; r < rows; ++r, y += n, dy += n, dx += n) {
        const Vec<T> mean = Simd<T>::set(row_dot(y, dy, n));
        map_packets(y, dy, dx, n, [mean](const Vec<T>& p, const Vec<T>& d) {
            return pk::pmul(p, pk::psub(d, mean));
        });
    }
}

template <class T>
void log_softmax_forward(const T* x, T* y, Index rows, Index n) {
    for (Index r = 0; r < rows; ++r, x += n, y += n) {
        const Vec<T> shift = Simd<T>::set(row_max(x, n));
        const T sum = reduce_range<T, SumOf<T>>(n, [x, &shift](Index i, Index lanes) {
            return exp_normal_packet<T>(pk::psub(Simd<T>::load_partial(x + i, lanes), shift));
        });
        const Vec<T> log_sum = log_packet<T>(Simd<T>::set(sum));
        map_packets(x, y, n, [shift, log_sum](const Vec<T>& v) {
            return pk::psub(pk::psub(v, shift), log_sum);
        });
    }
}

template <class T>
void log_softmax_backward(const T* y, const T* dy, T* dx, Index rows, Index n) {
    for (Index r = 0; r < rows; ++r, y += n, dy += n, dx += n) {
        const Vec<T> sum = Simd<T>::set(row_sum(dy, n));
        map_packets(y, dy, dx, n, [sum](const Vec<T>& logp, const Vec<T>& d) {
            return pk::psub(d, pk::pmul(exp_normal_packet<T>(logp), sum));
        });
    }
}

template void softmax_forward<float>(const float*, float*, Index, Index);
template void softmax_forward<double>(const double*, double*, Index, Index);
template void softmax_backward<float>(const float*, const float*, float*, Index, Index);
template void softmax_backward<double>(const double*, const double*, double*, Index, Index);
template void log_softmax_forward<float>(const float*, float*, Index, Index);
template void log_softmax_forward<double>(const double*, double*, Index, Index);
template void log_softmax_backward<float>(const float*, const float*, float*, Index, Index);
template void log_softmax_backward<double>(const double*, const double*, double*, Index, Index);

}  // namespace fastprop
