#include "kernels/dropout.h"

#include <algorithm>
#include <cmath>

#include "kernels/packet_bits.h"
#include "kernels/philox_batch.h"

namespace fastprop {
namespace {

/// Decisions that one batch of Philox words gives: half a word each.
constexpr Index kDecisions = 2 * kPhiloxWords;
constexpr Index kHalf = kPhiloxWords;

/// Which elements are kept. 16 random bits decide, but for the one value in 65536 that is on the
/// border, where 32 more do: the probability is exact to 2^-48 for half the words.
class Keep {
public:
    Keep(const RandomStream& stream, double p) : stream_(stream) {
        const double keep = (1.0 - p) * 65536.0;
        border_ = static_cast<std::uint32_t>(keep);
        rest_ = static_cast<std::uint32_t>((keep - std::floor(keep)) * 4294967296.0);
    }

    /// All bits set for the elements of batch b that are kept, none for the others.
    template <class UInt>
    void batch(Index b, UInt* masks) const {
        alignas(64) std::uint32_t words[kPhiloxWords];
        philox_batch(stream_.seed, stream_.stream, stream_.step,
                     static_cast<std::uint64_t>(b * kPhiloxBlocks), words);
        std::uint32_t on_border = 0;
        for (Index k = 0; k < kHalf; ++k) {
            const std::uint32_t low = words[k] & 0xFFFFu, high = words[k] >> 16;
            masks[k] = low < border_ ? ~UInt{0} : UInt{0};
            masks[k + kHalf] = high < border_ ? ~UInt{0} : UInt{0};
            on_border |= static_cast<std::uint32_t>(low == border_) |
                         static_cast<std::uint32_t>(high == border_);
        }
        if (on_border != 0 && rest_ != 0) decide_border(b, words, masks);
    }

private:
    template <class UInt>
    void decide_border(Index b, const std::uint32_t* words, UInt* masks) const {
        constexpr std::uint64_t kApart = std::uint64_t{1} << 63;  // blocks that nobody else draws
        for (Index k = 0; k < kDecisions; ++k) {
            const std::uint32_t half = k < kHalf ? words[k] & 0xFFFFu : words[k - kHalf] >> 16;
            if (half != border_) continue;
            const auto index = static_cast<std::uint64_t>(b * kDecisions + k);
            const Philox4 more =
                philox_block(stream_.seed, stream_.stream, stream_.step, kApart | index);
            if (more[0] < rest_) masks[k] = ~UInt{0};
        }
    }

    RandomStream stream_;
    std::uint32_t border_;
    std::uint32_t rest_;
};

}  // namespace

template <class T>
void dropout(const RandomStream& stream, const T* x, T* y, Index first, Index n,
             const DropoutOptions& options) {
    using S = Simd<T>;
    using UInt = typename FloatBits<T>::UInt;
    const Keep keep(stream, options.p);
    const Vec<T> scale = S::set(static_cast<T>(options.scale));
    const Vec<T> shift = S::set(static_cast<T>(options.shift));
    const Vec<T> fill = S::set(static_cast<T>(options.fill));
    alignas(64) UInt masks[kDecisions];
    const Index end = first + n;
    for (Index begin = first - first % kDecisions; begin < end; begin += kDecisions) {
        keep.batch(begin / kDecisions, masks);
        const Index last = std::min(end, begin + kDecisions);
        for (Index i = std::max(first, begin); i < last; i += S::width) {
            const Index lanes = std::min<Index>(S::width, last - i);
            alignas(64) T bits[S::width] = {};
            std::memcpy(bits, masks + (i - begin), static_cast<std::size_t>(lanes) * sizeof(T));
            const Vec<T> v = pk::pmadd(S::load_partial(x + (i - first), lanes), scale, shift);
            S::store_partial(y + (i - first), pk::pselect(pk::pload<Vec<T>>(bits), v, fill), lanes);
        }
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

#define FASTPROP_INSTANTIATE(T)                                               \
    template void dropout<T>(const RandomStream&, const T*, T*, Index, Index, \
                             const DropoutOptions&);                          \
    template void add_normal<T>(const RandomStream&, const T*, T*, Index, Index, double);
FASTPROP_INSTANTIATE(float)
FASTPROP_INSTANTIATE(double)
#undef FASTPROP_INSTANTIATE

}  // namespace fastprop
