/// @file
/// @brief Softmax with cross-entropy or the focal loss, value and gradient in one pass over a row.
///
/// With d = pred - max(pred), s = sum_j exp(d_j) and the target's distribution q:
///     loss    = (sum_j q_j) log s - sum_j q_j d_j
///     dpred_j = g ((sum_j q_j) exp(d_j) / s - q_j)
/// Few classes: one row a lane, so that nothing is summed across lanes and no lane is idle,
/// whatever the number of classes. Many classes: one row at a time, along the row. Which of the two
/// depends on the number of classes alone, so bits do not depend on slices.

#include <algorithm>
#include <limits>

#include "kernels/lanes.h"
#include "kernels/loss.h"
#include "kernels/math.h"
#include "kernels/row_reduce.h"

namespace fastprop {
namespace {

constexpr Index kFewClasses = 64;

/// q d, where nothing times minus infinity (a class masked out by its logit) is nothing.
template <class T>
PacketOf<T> weighted(const PacketOf<T>& q, const PacketOf<T>& d) {
    return pk::pandnot(pk::pmul(q, d), pk::pcmp_eq(q, Simd<T>::set(T(0))));
}

// ---- Targets: the distribution q
// -------------------------------------------------------------------

/// q_j = background_j + hit [j == label], background_j = w_j smoothing / classes.
template <class T>
class LabelTarget {
public:
    LabelTarget(const std::int64_t* labels, const T* class_weight, Index classes, double smoothing)
        : labels_(labels),
          class_weight_(class_weight),
          classes_(classes),
          keep_(static_cast<T>(1.0 - smoothing)),
          background_(static_cast<T>(smoothing / static_cast<double>(classes))) {}

    /// Rows first … first + n - 1 go to lanes 0 … n - 1.
    void start_lanes(Index first, Index n) {
        alignas(64) T label[Simd<T>::width] = {};
        alignas(64) T hit[Simd<T>::width] = {};
        for (Index r = 0; r < n; ++r) {
            const Index row = first + r;
            label[r] = static_cast<T>(in_range(row) ? labels_[row] : 0);
            hit[r] = hit_of(row);
        }
        lane_label_ = pk::pload<PacketOf<T>>(label);
        lane_hit_ = pk::pload<PacketOf<T>>(hit);
    }

    /// q_j of the rows in the lanes.
    PacketOf<T> lanes(Index j, Index /*n*/) const {
        const PacketOf<T> is_label = pk::pcmp_eq(lane_label_, Simd<T>::set(static_cast<T>(j)));
        return pk::padd(Simd<T>::set(background_of(j)), pk::pand(is_label, lane_hit_));
    }

    /// Without smoothing a row's q is zero but for its label.
    bool has_background() const { return background_ != T(0); }

    /// q_j … of one row without the hit, n of them.
    PacketOf<T> along(Index /*row*/, Index j, Index n) const {
        const PacketOf<T> background = Simd<T>::set(background_);
        if (class_weight_ == nullptr) return background;
        return pk::pmul(background, Simd<T>::load_partial(class_weight_ + j, n));
    }

    bool in_range(Index row) const { return labels_[row] >= 0 && labels_[row] < classes_; }
    Index label(Index row) const { return static_cast<Index>(labels_[row]); }

    /// NaN for a label out of range, which poisons the row's loss and gradient.
    T hit_of(Index row) const {
        if (!in_range(row)) return std::numeric_limits<T>::quiet_NaN();
        return class_weight_ == nullptr ? keep_ : keep_ * class_weight_[labels_[row]];
    }

    static constexpr bool kHasLabel = true;

private:
    T background_of(Index j) const {
        return class_weight_ == nullptr ? background_ : background_ * class_weight_[j];
    }

    const std::int64_t* labels_;
    const T* class_weight_;
    Index classes_;
    T keep_;
    T background_;
    PacketOf<T> lane_label_ = {};
    PacketOf<T> lane_hit_ = {};
};

/// q_j = w_j ((1 - smoothing) target_j + smoothing / classes).
template <class T>
class ProbabilityTarget {
public:
    ProbabilityTarget(const T* target, const T* class_weight, Index classes, double smoothing)
        : target_(target),
          class_weight_(class_weight),
          classes_(classes),
          keep_(static_cast<T>(1.0 - smoothing)),
          background_(static_cast<T>(smoothing / static_cast<double>(classes))) {}

    void start_lanes(Index first, Index) { first_ = first; }

    PacketOf<T> lanes(Index j, Index n) const {
        const PacketOf<T> q = smooth(gather_lanes(target_ + first_ * classes_ + j, classes_, n));
        return class_weight_ == nullptr ? q : pk::pmul(q, Simd<T>::set(class_weight_[j]));
    }

    bool has_background() const { return true; }

    PacketOf<T> along(Index row, Index j, Index n) const {
        const PacketOf<T> q = smooth(Simd<T>::load_partial(target_ + row * classes_ + j, n));
        if (class_weight_ == nullptr) return q;
        return pk::pmul(q, Simd<T>::load_partial(class_weight_ + j, n));
    }

    bool in_range(Index) const { return true; }
    Index label(Index) const { return 0; }
    T hit_of(Index) const { return T(0); }

    static constexpr bool kHasLabel = false;

private:
    PacketOf<T> smooth(const PacketOf<T>& target) const {
        return pk::pmadd(target, Simd<T>::set(keep_), Simd<T>::set(background_));
    }

    const T* target_;
    const T* class_weight_;
    Index classes_;
    T keep_;
    T background_;
    Index first_ = 0;
};

// ---- What becomes of a row's cross-entropy
// ---------------------------------------------------------------

/// Nothing.
struct Unchanged {
    static constexpr bool kChanges = false;
};

/// w f(c) with f(c) = (1 - exp(-c))^gamma c, and its slope by c.
template <class T>
class Focal {
public:
    static constexpr bool kChanges = true;

    Focal(const std::int64_t* labels, const T* class_weight, Index classes, double gamma)
        : labels_(labels),
          class_weight_(class_weight),
          classes_(classes),
          gamma_(static_cast<T>(gamma)) {}

    /// Weights of the rows first … first + n - 1. A label out of range is NaN elsewhere already.
    PacketOf<T> weights(Index first, Index n) const {
        alignas(64) T weight[Simd<T>::width];
        std::fill(weight, weight + Simd<T>::width, T(1));
        for (Index r = 0; r < n && class_weight_ != nullptr; ++r) {
            const std::int64_t label = labels_[first + r];
            if (label >= 0 && label < classes_) weight[r] = class_weight_[label];
        }
        return pk::pload<PacketOf<T>>(weight);
    }

    struct Terms {
        PacketOf<T> value;
        PacketOf<T> slope;
    };

    Terms operator()(const PacketOf<T>& cross_entropy, const PacketOf<T>& weight) const {
        using S = Simd<T>;
        const PacketOf<T> zero = S::set(T(0)), one = S::set(T(1));
        const PacketOf<T> negative = pk::pcmp_lt(cross_entropy, zero);  // by rounding
        const PacketOf<T> c = pk::pandnot(cross_entropy, negative);
        const PacketOf<T> wrong = pk::pnegate(expm1_packet<T>(pk::pnegate(c)));  // 1 - exp(-c)
        const PacketOf<T> certain = pk::pcmp_eq(wrong, zero);
        PacketOf<T> power = one;
        if (gamma_ != T(0)) {
            const PacketOf<T> log_power = pk::pmul(S::set(gamma_), log_packet<T>(wrong));
            power = pk::pandnot(exp_packet<T>(log_power), certain);
        }
        // f' = power + gamma power (c / wrong) exp(-c), where c / wrong goes to 1 at zero.
        const PacketOf<T> ratio = pk::pselect(certain, one, pk::pdiv(c, wrong));
        const PacketOf<T> gain = pk::pmul(S::set(gamma_), pk::pmul(ratio, pk::psub(one, wrong)));
        const PacketOf<T> scaled = pk::pmul(weight, power);
        return {pk::pmul(scaled, c), pk::pmadd(scaled, gain, scaled)};
    }

private:
    const std::int64_t* labels_;
    const T* class_weight_;
    Index classes_;
    T gamma_;
};

// ---- Few classes: one row a lane
// -------------------------------------------------------------------

template <class T, class Target, class Change>
void rows_in_lanes(const T* pred, Target& target, const Change& change, const T* g_rows,
                   T* row_loss, T* dpred, Index first, Index n, Index classes) {
    using S = Simd<T>;
    const T* from = pred + first * classes;
    alignas(64) T logits[kFewClasses * S::width];
    alignas(64) T shares[kFewClasses * S::width];
    target.start_lanes(first, n);

    PacketOf<T> greatest = gather_lanes(from, classes, n);
    pk::pstore(logits, greatest);
    for (Index j = 1; j < classes; ++j) {
        const PacketOf<T> x = gather_lanes(from + j, classes, n);
        pk::pstore(logits + j * S::width, x);
        greatest = pk::pmax(greatest, x);
    }

    PacketOf<T> sum = S::set(T(0)), total = S::set(T(0)), dot = S::set(T(0));
    for (Index j = 0; j < classes; ++j) {
        const PacketOf<T> d = pk::psub(pk::pload<PacketOf<T>>(logits + j * S::width), greatest);
        const PacketOf<T> e = exp_normal_packet<T>(d);
        const PacketOf<T> q = target.lanes(j, n);
        pk::pstore(logits + j * S::width, e);
        pk::pstore(shares + j * S::width, q);
        sum = pk::padd(sum, e);
        total = pk::padd(total, q);
        dot = pk::padd(dot, weighted<T>(q, d));
    }

    PacketOf<T> slope = S::set(T(1));
    if (Change::kChanges || row_loss != nullptr) {
        PacketOf<T> loss = pk::psub(pk::pmul(total, log_packet<T>(sum)), dot);
        if constexpr (Change::kChanges) {
            const auto changed = change(loss, change.weights(first, n));
            loss = changed.value;
            slope = changed.slope;
        }
        if (row_loss != nullptr) S::store_partial(row_loss + first, loss, n);
    }
    if (dpred == nullptr) return;
    PacketOf<T> g = S::load_partial(g_rows + first, n);
    if (Change::kChanges) g = pk::pmul(g, slope);
    const PacketOf<T> factor = pk::pdiv(total, sum);
    for (Index j = 0; j < classes; ++j) {
        const PacketOf<T> e = pk::pload<PacketOf<T>>(logits + j * S::width);
        const PacketOf<T> q = pk::pload<PacketOf<T>>(shares + j * S::width);
        const PacketOf<T> dx = pk::pmul(g, pk::psub(pk::pmul(e, factor), q));
        scatter_lanes(dpred + first * classes + j, dx, classes, n);
    }
}

// ---- Many classes: along the row
// -------------------------------------------------------------------

/// Classes go round through as many accumulators as a packet of the widest level has.
template <class T>
using RowSum = Accumulators<T, SumOf<T>, 64 / static_cast<int>(sizeof(T))>;

template <class T>
T greatest_of(const T* x, Index n) {
    using S = Simd<T>;
    PacketOf<T> greatest = S::load(x);
    for (Index j = S::width; j + S::width <= n; j += S::width)
        greatest = pk::pmax(greatest, S::load(x + j));
    return pk::predux_max(pk::pmax(greatest, S::load(x + n - S::width)));  // the last may overlap
}

template <class T, class Target, class Change>
void row_along_lanes(const T* x, const Target& target, const Change& change, Index row,
                     const T* g_rows, T* row_loss, T* dpred, Index classes) {
    using S = Simd<T>;
    const PacketOf<T> greatest = S::set(greatest_of(x, classes));
    const bool background = target.has_background();
    T* dx = dpred == nullptr ? nullptr : dpred + row * classes;
    const bool hits = Target::kHasLabel && target.in_range(row);
    const T hit = target.hit_of(row);
    const T hit_logit = hits ? x[target.label(row)] : T(0);  // dx may be x

    RowSum<T> sums, totals, dots;
    RowSum<T>::for_packets(0, classes, [&](int k, Index j, Index n) {
        const PacketOf<T> d = pk::psub(S::load_partial(x + j, n), greatest);
        const PacketOf<T> e = exp_normal_packet<T>(d);
        if (dx != nullptr) S::store_partial(dx + j, e, n);
        sums.add(k, keep_first<T>(e, n));
        if (!background) return;
        const PacketOf<T> q = keep_first<T>(target.along(row, j, n), n);
        totals.add(k, q);
        dots.add(k, weighted<T>(q, d));
    });
    const T sum = sums.total();
    const T total = totals.total() + hit;
    T dot = dots.total();
    if (hits && hit != T(0)) dot += hit * (hit_logit - pk::pfirst(greatest));

    T slope = T(1);
    if (Change::kChanges || row_loss != nullptr) {
        T loss = total * pk::pfirst(log_packet<T>(S::set(sum))) - dot;
        if constexpr (Change::kChanges) {
            const auto changed = change(S::set(loss), change.weights(row, 1));
            loss = pk::pfirst(changed.value);
            slope = pk::pfirst(changed.slope);
        }
        if (row_loss != nullptr) row_loss[row] = loss;
    }
    if (dx == nullptr) return;
    const T g_row = Change::kChanges ? g_rows[row] * slope : g_rows[row];
    const T scale = g_row * (total / sum);
    const PacketOf<T> scales = S::set(scale), g = S::set(g_row);
    RowSum<T>::for_packets(0, classes, [&](int, Index j, Index n) {
        PacketOf<T> value = pk::pmul(S::load_partial(dx + j, n), scales);
        if (background) value = pk::psub(value, pk::pmul(g, target.along(row, j, n)));
        S::store_partial(dx + j, value, n);
    });
    if (hits) dx[target.label(row)] -= g_row * hit;
}

template <class T, class Target, class Change>
void run(const T* pred, Target target, const Change& change, const T* g_rows, T* row_loss, T* dpred,
         Index rows, Index classes) {
    if (classes == 0) {  // no distribution over no classes
        if (row_loss != nullptr)
            std::fill(row_loss, row_loss + rows, std::numeric_limits<T>::quiet_NaN());
        return;
    }
    if (classes <= kFewClasses) {
        for (Index first = 0; first < rows; first += Simd<T>::width)
            rows_in_lanes(pred, target, change, g_rows, row_loss, dpred, first,
                          std::min<Index>(Simd<T>::width, rows - first), classes);
    } else {
        for (Index row = 0; row < rows; ++row)
            row_along_lanes(pred + row * classes, target, change, row, g_rows, row_loss, dpred,
                            classes);
    }
}

}  // namespace

template <class T>
void cross_entropy(const T* pred, const std::int64_t* labels, const T* g_rows,
                   const T* class_weight, T* row_loss, T* dpred, Index rows, Index classes,
                   double label_smoothing) {
    run(pred, LabelTarget<T>(labels, class_weight, classes, label_smoothing), Unchanged{}, g_rows,
        row_loss, dpred, rows, classes);
}

template <class T>
void focal(const T* pred, const std::int64_t* labels, const T* g_rows, const T* class_weight,
           T* row_loss, T* dpred, Index rows, Index classes, double gamma) {
    run(pred, LabelTarget<T>(labels, nullptr, classes, 0.0),
        Focal<T>(labels, class_weight, classes, gamma), g_rows, row_loss, dpred, rows, classes);
}

template <class T>
void cross_entropy_probs(const T* pred, const T* target, const T* g_rows, const T* class_weight,
                         T* row_loss, T* dpred, Index rows, Index classes, double label_smoothing) {
    run(pred, ProbabilityTarget<T>(target, class_weight, classes, label_smoothing), Unchanged{},
        g_rows, row_loss, dpred, rows, classes);
}

#define FASTPROP_INSTANTIATE(T)                                                                 \
    template void cross_entropy<T>(const T*, const std::int64_t*, const T*, const T*, T*, T*,   \
                                   Index, Index, double);                                       \
    template void focal<T>(const T*, const std::int64_t*, const T*, const T*, T*, T*, Index,    \
                           Index, double);                                                      \
    template void cross_entropy_probs<T>(const T*, const T*, const T*, const T*, T*, T*, Index, \
                                         Index, double);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
