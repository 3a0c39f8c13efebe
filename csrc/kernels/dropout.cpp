#include "kernels/dropout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/packet_bits.h"
#include "kernels/philox_batch.h"

namespace fastprop {
namespace {

/// Decisions that one batch of Philox words gives: half a word each.
constexpr Index kDecisions = 2 * kPhiloxWords;

/// Which elements are kept. 16 random bits decide, but for the one value in 65536 that is on the
/// border, where 32 more do: the probability is exact to 2^-48 for half the words.
class Keep {
public:
    Keep(const RandomStream& stream, double p) : stream_(stream) {
        const double keep = (1.0 - p) * 65536.0;  // below 65536: p is not nothing
        border_ = static_cast<std::uint16_t>(keep);
        rest_ = static_cast<std::uint32_t>((keep - std::floor(keep)) * 4294967296.0);
    }

    /// The kDecisions elements of batch b.
    void batch(Index b, std::uint8_t* mask) const {
        alignas(64) std::uint32_t words[kPhiloxWords];
        alignas(64) std::uint16_t halves[kDecisions];
        philox_batch(stream_.seed, stream_.stream, stream_.step,
                     static_cast<std::uint64_t>(b * kPhiloxBlocks), words);
        std::memcpy(halves, words, sizeof(halves));
        const std::uint16_t border = border_;  // of which the compiler sees that nothing changes it
        std::uint16_t on_border = 0;
        for (Index k = 0; k < kDecisions; ++k)
            mask[k] = static_cast<std::uint8_t>(halves[k] < border);
        for (Index k = 0; k < kDecisions; ++k)
            on_border = static_cast<std::uint16_t>(on_border | (halves[k] == border));
        if (on_border != 0 && rest_ != 0) decide_border(b, halves, mask);
    }

private:
    void decide_border(Index b, const std::uint16_t* halves, std::uint8_t* mask) const {
        constexpr std::uint64_t kApart = std::uint64_t{1} << 63;  // blocks that nobody else draws
        for (Index k = 0; k < kDecisions; ++k) {
            if (halves[k] != border_) continue;
            const auto index = static_cast<std::uint64_t>(b * kDecisions + k);
            const Philox4 more =
                philox_block(stream_.seed, stream_.stream, stream_.step, kApart | index);
            mask[k] = static_cast<std::uint8_t>(more[0] < rest_);
        }
    }

    RandomStream stream_;
    std::uint16_t border_;
    std::uint32_t rest_;
};

}  // namespace

void dropout_mask(const RandomStream& stream, std::uint8_t* mask, Index first, Index n, double p) {
    if (1.0 - p >= 1.0) {
        std::fill(mask, mask + n, std::uint8_t{1});
        return;
    }
    const Keep keep(stream, p);
    const Index end = first + n;
    for (Index begin = first - first % kDecisions; begin < end; begin += kDecisions) {
        const Index from = std::max(first, begin), to = std::min(end, begin + kDecisions);
        if (to - from == kDecisions) {
            keep.batch(begin / kDecisions, mask + (from - first));
            continue;
        }
        std::uint8_t decisions[kDecisions];
        keep.batch(begin / kDecisions, decisions);
        std::copy(decisions + (from - begin), decisions + (to - begin), mask + (from - first));
    }
}

template <class T>
void dropout(const std::uint8_t* mask, const T* x, T* y, Index n, const DropoutValues& values) {
    using S = Simd<T>;
    using UInt = typename FloatBits<T>::UInt;
    constexpr Index kBlock = 64;
    const Vec<T> scale = S::set(static_cast<T>(values.scale));
    const Vec<T> shift = S::set(static_cast<T>(values.shift));
    const Vec<T> fill = S::set(static_cast<T>(values.fill));
    const auto choose = [&](const UInt* kept, const Vec<T>& v) {
        Vec<T> bits;
        std::memcpy(&bits, kept, sizeof(bits));
        return pk::pselect(bits, pk::pmadd(v, scale, shift), fill);
    };
    alignas(64) UInt kept[kBlock];
    Index i = 0;
    for (; i + kBlock <= n; i += kBlock) {
        for (Index k = 0; k < kBlock; ++k) kept[k] = mask[i + k] != 0 ? ~UInt{0} : UInt{0};
        for (Index k = 0; k < kBlock; k += S::width)
            S::store(y + i + k, choose(kept + k, S::load(x + i + k)));
    }
    for (Index k = 0; i + k < n; ++k) kept[k] = mask[i + k] != 0 ? ~UInt{0} : UInt{0};
    for (Index k = 0; i + k < n; k += S::width) {
        const Index lanes = std::min<Index>(S::width, n - i - k);
        S::store_partial(y + i + k, choose(kept + k, S::load_partial(x + i + k, lanes)), lanes);
    }
}

template <class T>
void add_normal(const RandomStream& stream, const T* x, T* y, Index first, Index n, double std) {
    constexpr Index kPart = 256;
    alignas(64) T noise[kPart];
    for (Index done = 0; done < n; done += kPart) {
        const Index count = std::min(kPart, n - done);
        random_normal(stream, noise, first + done, count, 0.0, std);
        map_packets(x + done, noise, y + done, count,
                    [](const Vec<T>& a, const Vec<T>& b) { return pk::padd(a, b); });
    }
}

#define FASTPROP_INSTANTIATE(T)                                                               \
    template void dropout<T>(const std::uint8_t*, const T*, T*, Index, const DropoutValues&); \
    template void add_normal<T>(const RandomStream&, const T*, T*, Index, Index, double);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
