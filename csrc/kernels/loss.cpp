/// @file
/// @brief The driver of the elementwise losses: rows, blocks and sums around loss_terms.h.

#include "kernels/loss.h"

#include <algorithm>

#include "kernels/lanes.h"
#include "kernels/loss_terms.h"
#include "kernels/row_reduce.h"

namespace fastprop {
namespace {

template <class T>
struct Operands {
    const T* pred;
    const T* target;
    const T* g_rows;
    AuxLayout<T> aux;
    T* row_loss;
    T* dpred;
    T* daux;
    Index rows;
    Index row_size;
    bool mean;

    T gradient_scale(Index row) const {
        return mean ? g_rows[row] / static_cast<T>(row_size) : g_rows[row];
    }
    T row_value(T sum) const { return mean ? sum / static_cast<T>(row_size) : sum; }
};

// ---- Short rows: whole blocks of rows as one long vector ----------------------------------------

constexpr Index kBlock = 512;

/// Rows below this length leave too many lanes of their packets empty when taken one by one. The
/// choice depends on the shape alone, so that bits depend neither on slices nor on the level.
template <class T>
constexpr Index kShortRow = 128 / Index{sizeof(T)};

/// Elements of a long row go round through as many accumulators as a packet of the widest level
/// has.
template <class T>
using RowSum = Accumulators<T, SumOf<T>, 64 / static_cast<int>(sizeof(T))>;

/// What a block of rows needs for each of its elements; whatever is so already is pointed to.
template <class T>
struct Block {
    alignas(64) T values[kBlock];
    alignas(64) T scale[kBlock];
    alignas(64) T aux[kBlock];
};

template <class T>
void spread_scale(const Operands<T>& o, Index first, Index count, T* scale) {
    for (Index r = 0; r < count; ++r) {
        const T value = o.gradient_scale(first + r);
        for (Index j = 0; j < o.row_size; ++j) *scale++ = value;
    }
}

template <class T>
void spread_aux(const Operands<T>& o, Index first, Index count, T* aux) {
    const Index segments = o.row_size / o.aux.segment;
    for (Index r = 0; r < count; ++r) {
        for (Index s = 0; s < segments; ++s) {
            const T* from = o.aux.at(first + r, s);
            for (Index j = 0; j < o.aux.segment; ++j) *aux++ = from[o.aux.broadcast ? 0 : j];
        }
    }
}

/// values[i], dpred[i], daux[i] of n elements.
template <class T, class Loss>
void loss_of_elements(const Loss& loss, const T* pred, const T* target, const T* aux,
                      const T* scale, T* values, T* dpred, T* daux, Index n) {
    using S = Simd<T>;
    const auto one_packet = [&](Index i, const auto& load, const auto& store) {
        const auto terms = loss(load(pred + i), load(target + i), load(aux + i));
        if (values != nullptr) store(values + i, terms.value);
        if (scale == nullptr) return;
        const auto s = load(scale + i);
        if (dpred != nullptr) store(dpred + i, pk::pmul(terms.dpred, s));
        if (Loss::kAuxGradient && daux != nullptr) store(daux + i, pk::pmul(terms.daux, s));
    };
    Index i = 0;
    for (; i + S::width <= n; i += S::width)
        one_packet(
            i, [](const T* p) { return S::load(p); },
            [](T* p, const PacketOf<T>& v) { S::store(p, v); });
    const Index rest = n - i;
    if (rest > 0)
        one_packet(
            i, [rest](const T* p) { return S::load_partial(p, rest); },
            [rest](T* p, const PacketOf<T>& v) { S::store_partial(p, v, rest); });
}

template <class T>
void sum_short_rows(const Operands<T>& o, const T* values, Index first, Index count) {
    for (Index r = 0; r < count; ++r) {
        T sum = T(0);
        for (Index j = 0; j < o.row_size; ++j) sum += *values++;
        o.row_loss[first + r] = o.row_value(sum);
    }
}

template <class T, class Loss>
void loss_of_short_rows(const Loss& loss, const Operands<T>& o) {
    Block<T> block;
    const bool has_gradient = o.dpred != nullptr || o.daux != nullptr;
    const bool single = o.row_size == 1;  // rows are elements: nothing to spread, nothing to sum
    const bool full_aux = !o.aux.broadcast && o.aux.row_stride == o.row_size;
    const Index used = std::min(kBlock, o.rows * o.row_size);
    if (!full_aux) std::fill(block.aux, block.aux + used, o.aux.data[0]);

    const Index step = kBlock / o.row_size;
    for (Index first = 0; first < o.rows; first += step) {
        const Index count = std::min(step, o.rows - first);
        const Index at = first * o.row_size;
        const T* scale = nullptr;
        if (has_gradient) {
            if (!single) spread_scale(o, first, count, block.scale);
            scale = single ? o.g_rows + first : block.scale;
        }
        if (!full_aux && !o.aux.is_constant()) spread_aux(o, first, count, block.aux);
        T* values = o.row_loss == nullptr ? nullptr : single ? o.row_loss + first : block.values;
        loss_of_elements(loss, o.pred + at, o.target + at, full_aux ? o.aux.data + at : block.aux,
                         scale, values, o.dpred == nullptr ? nullptr : o.dpred + at,
                         o.daux == nullptr ? nullptr : o.daux + at, count * o.row_size);
        if (o.row_loss != nullptr && !single) sum_short_rows(o, values, first, count);
    }
}

// ---- Long rows, and rows with a variance for each of their vectors
// --------------------------------

/// One segment of one row; adds to `sum` and returns the segment's sum of d/daux where aux is one
/// value for all of it.
template <bool kValue, bool kGradient, class T, class Loss>
T loss_of_segment(const Loss& loss, const T* pred, const T* target, const T* aux, bool broadcast,
                  T scale, T* dpred, T* daux, Index n, RowSum<T>& sum) {
    using S = Simd<T>;
    const PacketOf<T> scales = S::set(scale);
    const PacketOf<T> one_aux = S::set(aux[0]);
    RowSum<T> aux_sum;
    RowSum<T>::for_packets(0, n, [&](int k, Index i, Index lanes) {
        const auto terms =
            loss(S::load_partial(pred + i, lanes), S::load_partial(target + i, lanes),
                 broadcast ? one_aux : S::load_partial(aux + i, lanes));
        if (kValue) sum.add(k, keep_first<T>(terms.value, lanes));
        if (!kGradient) return;
        if (dpred != nullptr) S::store_partial(dpred + i, pk::pmul(terms.dpred, scales), lanes);
        if (!Loss::kAuxGradient || daux == nullptr) return;
        if (broadcast)
            aux_sum.add(k, keep_first<T>(terms.daux, lanes));
        else
            S::store_partial(daux + i, pk::pmul(terms.daux, scales), lanes);
    });
    return Loss::kAuxGradient && kGradient ? aux_sum.total() * scale : T(0);
}

template <bool kValue, bool kGradient, class T, class Loss>
void loss_of_long_rows(const Loss& loss, const Operands<T>& o) {
    const Index segments = o.row_size / o.aux.segment;
    for (Index row = 0; row < o.rows; ++row) {
        RowSum<T> sum;
        const T scale = kGradient ? o.gradient_scale(row) : T(0);
        for (Index s = 0; s < segments; ++s) {
            const Index at = row * o.row_size + s * o.aux.segment;
            const T* aux = o.aux.at(row, s);
            // daux is laid out as aux is.
            T* daux = o.daux == nullptr ? nullptr : o.daux + (aux - o.aux.data);
            const T segment_daux = loss_of_segment<kValue, kGradient>(
                loss, o.pred + at, o.target + at, aux, o.aux.broadcast, scale,
                o.dpred == nullptr ? nullptr : o.dpred + at, daux, o.aux.segment, sum);
            if (daux != nullptr && o.aux.broadcast) *daux = segment_daux;
        }
        if (kValue) o.row_loss[row] = o.row_value(sum.total());
    }
}

template <class T, LossKind kind>
void run_loss(const Operands<T>& o, const LossOptions& options) {
    const LossFunction<T, kind> loss(options);
    const bool sums_aux = o.aux.broadcast && !o.aux.is_constant();
    const bool gradient = o.dpred != nullptr || o.daux != nullptr;
    if (o.row_size < kShortRow<T> && !sums_aux)
        loss_of_short_rows(loss, o);
    else if (o.row_loss == nullptr)
        loss_of_long_rows<false, true>(loss, o);
    else if (!gradient)
        loss_of_long_rows<true, false>(loss, o);
    else
        loss_of_long_rows<true, true>(loss, o);
}

}  // namespace

template <class T>
void elementwise_loss(LossKind kind, const T* pred, const T* target, const T* g_rows,
                      const AuxLayout<T>& aux, T* row_loss, T* dpred, T* daux, Index rows,
                      Index row_size, const LossOptions& options) {
    const Operands<T> o{pred,  target, g_rows, aux,      row_loss,
                        dpred, daux,   rows,   row_size, options.mean};
    if (row_size == 0) {  // the mean of nothing is NaN, its sum is zero
        if (row_loss != nullptr) std::fill(row_loss, row_loss + rows, o.row_value(T(0)));
        return;
    }
    switch (kind) {
        case LossKind::mse:
            return run_loss<T, LossKind::mse>(o, options);
        case LossKind::mae:
            return run_loss<T, LossKind::mae>(o, options);
        case LossKind::huber:
            return run_loss<T, LossKind::huber>(o, options);
        case LossKind::log_cosh:
            return run_loss<T, LossKind::log_cosh>(o, options);
        case LossKind::quantile:
            return run_loss<T, LossKind::quantile>(o, options);
        case LossKind::hinge:
            return run_loss<T, LossKind::hinge>(o, options);
        case LossKind::poisson_nll:
            return run_loss<T, LossKind::poisson_nll>(o, options);
        case LossKind::gaussian_nll:
            return run_loss<T, LossKind::gaussian_nll>(o, options);
        case LossKind::kl_div:
            return run_loss<T, LossKind::kl_div>(o, options);
        case LossKind::binary_cross_entropy:
            return run_loss<T, LossKind::binary_cross_entropy>(o, options);
        case LossKind::binary_focal:
            return run_loss<T, LossKind::binary_focal>(o, options);
        case LossKind::elastic_net:
            return run_loss<T, LossKind::elastic_net>(o, options);
    }
}

template <class T>
void elastic_net_add(const T* weight, const T* g_rows, const T* other, T* out, Index rows,
                     Index row_size, const LossOptions& options) {
    using S = Simd<T>;
    const LossFunction<T, LossKind::elastic_net> penalty(options);
    for (Index row = 0; row < rows; ++row) {
        const T g = options.mean ? g_rows[row] / static_cast<T>(row_size) : g_rows[row];
        const PacketOf<T> scale = S::set(g);
        const auto sum_of = [&](const PacketOf<T>& w, const PacketOf<T>& sum) {
            return pk::padd(sum, pk::pmul(penalty(w, w, w).dpred, scale));
        };
        Index j = 0;
        for (; j + S::width <= row_size; j += S::width)
            S::store(out + j, sum_of(S::load(weight + j), S::load(other + j)));
        const Index rest = row_size - j;
        if (rest > 0)
            S::store_partial(
                out + j,
                sum_of(S::load_partial(weight + j, rest), S::load_partial(other + j, rest)), rest);
        weight += row_size;
        other += row_size;
        out += row_size;
    }
}

#define FASTPROP_INSTANTIATE(T)                                                                    \
    template void elementwise_loss<T>(LossKind, const T*, const T*, const T*, const AuxLayout<T>&, \
                                      T*, T*, T*, Index, Index, const LossOptions&);               \
    template void elastic_net_add<T>(const T*, const T*, const T*, T*, Index, Index,               \
                                     const LossOptions&);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
