/// @file
/// @brief Arrays of random numbers and permutations from Philox words.

#include "kernels/random.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/math.h"
#include "kernels/philox_batch.h"

namespace fastprop {
namespace {

/// f(words, begin, count): for the words [first, first + n) in order, batch by batch;
/// words[0] is word `begin` of the stream.
template <class F>
void for_words(const RandomStream& stream, Index first, Index n, const F& f) {
    alignas(64) std::uint32_t batch[kPhiloxWords];
    const Index end = first + n;
    for (Index begin = first - first % kPhiloxWords; begin < end; begin += kPhiloxWords) {
        philox_batch(stream.seed, stream.stream, stream.step, static_cast<std::uint64_t>(begin / 4),
                     batch);
        const Index from = std::max(first, begin);
        f(batch + (from - begin), from, std::min(end, begin + kPhiloxWords) - from);
    }
}

template <class T>
T uniform_of(const std::uint32_t* words);
template <>
float uniform_of<float>(const std::uint32_t* words) {
    return uniform_float(words[0]);
}
template <>
double uniform_of<double>(const std::uint32_t* words) {
    return uniform_double(words[0], words[1]);
}

/// A pair of uniforms in double precision; u is in (0, 1], so that its logarithm is finite.
struct Pair {
    double u;
    double v;
};

template <class T>
Pair pair_of(const std::uint32_t* words);
/// The word as a number, by way of the bits of 2^52 + word: unlike a conversion from unsigned
/// integers, compilers turn loops over it into packets at every level.
inline double double_of(std::uint32_t word) {
    const std::uint64_t bits = 0x4330000000000000u | word;
    double number;
    std::memcpy(&number, &bits, sizeof number);
    return number - 4503599627370496.0;
}
template <>
Pair pair_of<float>(const std::uint32_t* words) {
    constexpr double unit = 1.0 / 4294967296.0;
    return {(double_of(words[0]) + 1.0) * unit, double_of(words[1]) * unit};
}
template <>
Pair pair_of<double>(const std::uint32_t* words) {
    constexpr double unit = 1.0 / 9007199254740992.0;
    return {uniform_double(words[0], words[1]) + unit, uniform_double(words[2], words[3])};
}

/// cos(2 pi v) and sin(2 pi v) for v in [0, 1): the nearest quarter turn is taken off exactly, and
/// Taylor's series to the 16th power is good to the last bits on the eighth of a turn that remains.
struct Turn {
    using P = Vec<double>;
    P cosine;
    P sine;

    explicit Turn(const P& v) {
        const auto set = [](double value) { return Simd<double>::set(value); };
        const P quarters = pk::pfloor(pk::pmadd(v, set(4.0), set(0.5)));
        const P x = pk::pmul(pk::pmadd(quarters, set(-0.25), v), set(6.28318530717958647693));
        const P x2 = pk::pmul(x, x);
        const P s = pk::pmadd(pk::pmul(x, x2), polynomial<double>(x2, kSine), x);
        const P c = pk::pmadd(x2, polynomial<double>(x2, kCosine), set(1.0));

        const P first = pk::pcmp_eq(quarters, set(1.0));
        const P second = pk::pcmp_eq(quarters, set(2.0));
        const P third = pk::pcmp_eq(quarters, set(3.0));
        const P swap = pk::por(first, third);
        const P sign = set(-0.0);
        cosine = pk::pxor(pk::pselect(swap, s, c), pk::pand(pk::por(first, second), sign));
        sine = pk::pxor(pk::pselect(swap, c, s), pk::pand(pk::por(second, third), sign));
    }

    // (sin(x) - x) / x^3 and (cos(x) - 1) / x^2 in x^2.
    static constexpr double kSine[] = {
        -1.0 / 6.0,        1.0 / 120.0,        -1.0 / 5040.0,         1.0 / 362880.0,
        -1.0 / 39916800.0, 1.0 / 6227020800.0, -1.0 / 1307674368000.0};
    static constexpr double kCosine[] = {
        -1.0 / 2.0,       1.0 / 24.0,        -1.0 / 720.0,         1.0 / 40320.0,
        -1.0 / 3628800.0, 1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0};
};

/// The standard normal numbers of some batches of words: one loop for the radii and one for the
/// angles, since a packet of both is longer than what a core looks ahead (on Zen 3 0.87 of the
/// time).
template <class T, int kBatches>
void box_muller(const std::uint32_t* words, double* cosines, double* sines) {
    using S = Simd<double>;
    constexpr int kWords = sizeof(T) == 4 ? 2 : 4;
    constexpr int kPairs = kBatches * kPhiloxWords / kWords;
    static_assert(kPairs % S::width == 0, "whole packets");
    alignas(64) double u[kPairs], v[kPairs];
    for (int k = 0; k < kPairs; ++k) {
        const Pair pair = pair_of<T>(words + kWords * k);
        u[k] = pair.u;
        v[k] = pair.v;
    }
    for (int k = 0; k < kPairs; k += S::width) {
        const auto log_u = log_normal_packet<double>(S::load(u + k));
        S::store(u + k, pk::psqrt(pk::pmul(log_u, S::set(-2.0))));
    }
    for (int k = 0; k < kPairs; k += S::width) {
        const auto radius = S::load(u + k);
        const Turn turn(S::load(v + k));
        S::store(cosines + k, pk::pmul(radius, turn.cosine));
        S::store(sines + k, pk::pmul(radius, turn.sine));
    }
}

/// Words one after the other, for decisions that need an unknown number of them.
class WordSource {
public:
    explicit WordSource(const RandomStream& stream) : stream_(stream) {}

    std::uint32_t next() {
        if (used_ == kPhiloxWords) {
            philox_batch(stream_.seed, stream_.stream, stream_.step, block_, words_);
            block_ += kPhiloxBlocks;
            used_ = 0;
        }
        return words_[used_++];
    }

    /// Uniform on [0, bound): the high half of word * bound, without the words that would make some
    /// results more frequent than others (Lemire, "Fast random integer generation in an interval").
    std::uint32_t below(std::uint32_t bound) {
        std::uint64_t product = std::uint64_t{next()} * bound;
        if (static_cast<std::uint32_t>(product) < bound) {
            const std::uint32_t threshold = (0u - bound) % bound;
            while (static_cast<std::uint32_t>(product) < threshold)
                product = std::uint64_t{next()} * bound;
        }
        return static_cast<std::uint32_t>(product >> 32);
    }

    /// The same for bounds above 2^32: two words, cut to the bits of the bound, until they are
    /// below.
    std::uint64_t below_wide(std::uint64_t bound) {
        std::uint64_t mask = bound - 1;
        for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
        std::uint64_t value;
        do {
            const std::uint64_t high = next();
            value = (high << 32 | next()) & mask;
        } while (value >= bound);
        return value;
    }

private:
    RandomStream stream_;
    std::uint64_t block_ = 0;
    Index used_ = kPhiloxWords;
    alignas(64) std::uint32_t words_[kPhiloxWords];
};

/// 32-bit numbers in memory that belongs to something else, hence the byte copies.
class NarrowIndices {
public:
    explicit NarrowIndices(void* memory) : memory_(static_cast<unsigned char*>(memory)) {}

    std::uint32_t get(Index i) const {
        std::uint32_t value;
        std::memcpy(&value, memory_ + 4 * i, 4);
        return value;
    }
    void set(Index i, std::uint32_t value) { std::memcpy(memory_ + 4 * i, &value, 4); }

private:
    unsigned char* memory_;
};

}  // namespace

void random_words(const RandomStream& stream, std::uint32_t* words, Index first, Index n) {
    for_words(stream, first, n, [&](const std::uint32_t* batch, Index begin, Index count) {
        std::copy(batch, batch + count, words + (begin - first));
    });
}

template <class T>
void random_uniform(const RandomStream& stream, T* y, Index first, Index n, double lo, double hi) {
    constexpr Index kWords = sizeof(T) / 4;
    const T low = static_cast<T>(lo);
    const T width = static_cast<T>(hi - lo);
    // Rounding must not give hi itself.
    const T last = hi > lo ? std::nextafter(static_cast<T>(hi), low) : low;
    for_words(stream, first * kWords, n * kWords,
              [&](const std::uint32_t* words, Index begin, Index count) {
                  T* to = y + (begin / kWords - first);
                  for (Index i = 0; i < count / kWords; ++i) {
                      const T value = low + width * uniform_of<T>(words + kWords * i);
                      to[i] = value < last ? value : last;
                  }
              });
}

template <class T>
void random_normal(const RandomStream& stream, T* y, Index first, Index n, double mean,
                   double std) {
    constexpr int kBatches = 2;
    constexpr Index kElements = kBatches * kPhiloxWords * 4 / static_cast<Index>(sizeof(T));
    alignas(64) std::uint32_t words[kBatches * kPhiloxWords];
    alignas(64) double z[2][kElements / 2];
    // Whole blocks of batches; of the first and the last one, elements may be outside the range.
    for (Index at = first - first % kElements; at < first + n; at += kElements) {
        const auto block = static_cast<std::uint64_t>(at / kElements * kBatches * kPhiloxBlocks);
        for (int b = 0; b < kBatches; ++b)
            philox_batch(stream.seed, stream.stream, stream.step,
                         block + static_cast<std::uint64_t>(b * kPhiloxBlocks),
                         words + b * kPhiloxWords);
        box_muller<T, kBatches>(words, z[0], z[1]);
        const Index from = std::max(first, at), to = std::min(first + n, at + kElements);
        if (to - from == kElements) {  // a loop of its own, which compilers turn into packets
            T* pair = y + (at - first);
            for (Index k = 0; k < kElements / 2; ++k) {
                pair[2 * k] = static_cast<T>(mean + std * z[0][k]);
                pair[2 * k + 1] = static_cast<T>(mean + std * z[1][k]);
            }
            continue;
        }
        for (Index i = from; i < to; ++i)
            y[i - first] = static_cast<T>(mean + std * z[(i - at) % 2][(i - at) / 2]);
    }
}

void permutation(std::uint64_t seed, std::uint32_t stream, std::uint32_t step, std::int64_t* out,
                 Index n) {
    WordSource words({seed, stream, step});
    if (n > Index{0xFFFFFFFF}) {
        for (Index i = 0; i < n; ++i) out[i] = i;
        for (Index i = n - 1; i > 0; --i)
            std::swap(out[i], out[words.below_wide(static_cast<std::uint64_t>(i) + 1)]);
        return;
    }
    // Swapped as 32-bit numbers in the first half of `out`, where twice as many stay in the cache.
    NarrowIndices narrow(out);
    for (Index i = 0; i < n; ++i) narrow.set(i, static_cast<std::uint32_t>(i));
    for (Index i = n - 1; i > 0; --i) {
        const Index j = static_cast<Index>(words.below(static_cast<std::uint32_t>(i) + 1));
        const std::uint32_t other = narrow.get(j);
        narrow.set(j, narrow.get(i));
        narrow.set(i, other);
    }
    // Widened from the end, so that no number is overwritten before it is read.
    for (Index i = n - 1; i >= 0; --i) out[i] = narrow.get(i);
}

#define FASTPROP_INSTANTIATE(T)                                                             \
    template void random_uniform<T>(const RandomStream&, T*, Index, Index, double, double); \
    template void random_normal<T>(const RandomStream&, T*, Index, Index, double, double);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
