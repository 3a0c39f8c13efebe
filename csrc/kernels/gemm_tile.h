#pragma once
/// @file
/// @brief The register tile of the matrix product: a few rows of A times a panel of B.
///
/// Accumulators stay in registers over all of a k block. Every element is a chain of one (fused)
/// multiply-add per k, in order, whatever the tile, so its bits depend neither on the tile's shape
/// nor on where a slice or a block begins.

#include "core/packet.h"

#if defined(__clang__)
#define FASTPROP_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define FASTPROP_UNROLL _Pragma("GCC unroll 32")
#else
#define FASTPROP_UNROLL
#endif

namespace fastprop {

/// Shape of the register tile. Two packets wide; as many rows as leave registers for two packets of
/// B and the broadcast element of A: 6 of 16 registers, 14 of 32 (8 are enough on NEON).
template <class T>
struct GemmTile {
    static constexpr int width = Simd<T>::width;
    static constexpr int packets = 2;
    static constexpr int columns = packets * width;  ///< of a panel
#if defined(__AVX512F__)
    static constexpr int rows = 14, registers = 32;
#elif defined(__aarch64__) || defined(_M_ARM64)
    static constexpr int rows = 8, registers = 32;
#else
    static constexpr int rows = 6, registers = 16;
#endif
    /// Tiles one packet wide: 8 accumulators are what two units of latency 4 need.
    static constexpr int narrow_rows = rows > 8 ? rows : 8;
};

/// Height of the next tile. A last tile of fewer than four rows would leave the multiply-add units
/// idle, so the last two share their rows.
inline Index tile_height(Index left, Index limit) {
    if (left <= limit) return left;
    return left < limit + 4 ? (left + 1) / 2 : limit;
}

/// How a tile finds its rows of A.
enum class TileLeft {
    rows,     ///< element (i, k) is a[i * a_stride + k]
    columns,  ///< element (i, k) is a[k * a_stride + i]
    /// Packed [k][height of the tile], and B packed in panels: all strides are constants, so four
    /// steps of k share their pointers. A step is 20 instructions instead of 23, which is what
    /// counts while another hardware thread uses the core: 7 to 12 % more on Zen 3.
    strip,
};

/// One tile of C. All strides count elements.
template <class T>
struct TileCall {
    const T* a;
    Index a_stride;
    const T* b;      ///< element (k, j) of the first panel is b[k * b_stride + j]
    Index b_stride;  ///< the panel's width for strips
    Index b_panel;   ///< from a panel to the next
    Index k;
    T* c;
    Index c_stride;
    Index columns;  ///< valid ones, at most those of the tile
    bool resume;    ///< c holds the sums over earlier k blocks
    // What is done to finished sums; nothing if all are null.
    const T* bias;     ///< added, one a column
    bool scalar_bias;  ///< or one value for all columns
    const T* mask;     ///< at c's strides: the sum becomes 0 where mask <= 0
    T* z;              ///< at c's strides: gets the sums before relu
    bool relu;
};

template <class T>
using TileFunction = void (*)(const TileCall<T>&);

namespace tile {

template <class T>
using PacketOf = typename Simd<T>::Packet;

/// memcpy of n < kLimit <= 16 elements as moves of constant size: a call of memcpy would cost more
/// than the arithmetic of a narrow tile.
template <int kLimit, class T>
inline void copy_lanes(const T* from, T* to, Index n) {
    if constexpr (kLimit > 8) {
        if (n & 8) std::memcpy(to, from, 8 * sizeof(T)), to += 8, from += 8;
    }
    if constexpr (kLimit > 4) {
        if (n & 4) std::memcpy(to, from, 4 * sizeof(T)), to += 4, from += 4;
    }
    if constexpr (kLimit > 2) {
        if (n & 2) std::memcpy(to, from, 2 * sizeof(T)), to += 2, from += 2;
    }
    if (n & 1) std::memcpy(to, from, sizeof(T));
}

template <class T>
inline PacketOf<T> load_lanes(const T* p, Index n) {
    if (n >= Simd<T>::width) return Simd<T>::load(p);
    alignas(64) T lanes[Simd<T>::width] = {};
    if (n > 0) copy_lanes<Simd<T>::width>(p, lanes, n);
    return pk::pload<PacketOf<T>>(lanes);
}

template <class T>
inline void store_lanes(T* p, const PacketOf<T>& v, Index n) {
    if (n >= Simd<T>::width) {
        Simd<T>::store(p, v);
    } else if (n > 0) {
        alignas(64) T lanes[Simd<T>::width];
        pk::pstore(lanes, v);
        copy_lanes<Simd<T>::width>(lanes, p, n);
    }
}

/// Relu with the bits of the activation kernels: NaN and -0 pass through.
template <class T>
inline PacketOf<T> relu(const PacketOf<T>& x) {
    const PacketOf<T> zero = Simd<T>::set(T(0));
#if defined(EIGEN_VECTORIZE_SSE)
    return pk::pmax(x, zero);  // of NaN, and of two zeros, the instruction returns x
#else
    return pk::pselect(pk::pcmp_lt(x, zero), zero, x);
#endif
}

template <class T>
inline PacketOf<T> relu_mask(const PacketOf<T>& dy, const PacketOf<T>& h) {
    return pk::pandnot(dy, pk::pcmp_le(h, Simd<T>::set(T(0))));
}

// Columns that do not fill the packets go through memory, `sums`, one packet after the other; out
// of line, so that full tiles keep a small frame.

template <class T>
EIGEN_DONT_INLINE void resume_partial(const TileCall<T>& t, T* sums, int rows, int packets) {
    constexpr int width = Simd<T>::width;
    for (int i = 0; i < rows; ++i) {
        for (int v = 0; v < packets; ++v) {
            const T* from = t.c + i * t.c_stride + v * width;
            pk::pstore(sums + (i * packets + v) * width, load_lanes(from, t.columns - v * width));
        }
    }
}

template <class T>
EIGEN_DONT_INLINE void finish_partial(const TileCall<T>& t, const T* sums, int rows, int packets) {
    constexpr int width = Simd<T>::width;
    for (int v = 0; v < packets && v * width < t.columns; ++v) {
        const Index n = t.columns - v * width;
        const Index at = v * width;
        const PacketOf<T> bias = t.bias == nullptr || t.scalar_bias
                                     ? Simd<T>::set(t.bias ? *t.bias : T(0))
                                     : load_lanes(t.bias + at, n);
        for (int i = 0; i < rows; ++i) {
            const Index row = i * t.c_stride + at;
            PacketOf<T> y = pk::pload<PacketOf<T>>(sums + (i * packets + v) * width);
            if (t.bias) y = pk::padd(y, bias);
            if (t.mask) y = relu_mask<T>(y, load_lanes(t.mask + row, n));
            if (t.z) store_lanes(t.z + row, y, n);
            if (t.relu) y = relu<T>(y);
            store_lanes(t.c + row, y, n);
        }
    }
}

/// Full tiles: one branch an epilogue, not one a packet.
template <class T, int kRows, int kPackets>
inline void finish(const TileCall<T>& call, PacketOf<T> (&acc)[kRows][kPackets]) {
    using S = Simd<T>;
    constexpr int width = S::width;
    const TileCall<T> t = call;  // a copy that stores through T* cannot alias
    if (t.bias) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) {
            const PacketOf<T> bias = t.scalar_bias ? S::set(*t.bias) : S::load(t.bias + v * width);
            FASTPROP_UNROLL
            for (int i = 0; i < kRows; ++i) acc[i][v] = pk::padd(acc[i][v], bias);
        }
    }
    if (t.mask) {
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) {
                acc[i][v] = relu_mask<T>(acc[i][v], S::load(t.mask + i * t.c_stride + v * width));
            }
        }
    }
    if (t.z) {
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v)
                S::store(t.z + i * t.c_stride + v * width, acc[i][v]);
        }
    }
    if (t.relu) {
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) acc[i][v] = relu<T>(acc[i][v]);
        }
    }
    FASTPROP_UNROLL
    for (int i = 0; i < kRows; ++i) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) S::store(t.c + i * t.c_stride + v * width, acc[i][v]);
    }
}

/// Keeps v in a register. GCC otherwise reads B again for each row, as an operand of the
/// multiply-add, in tiles of up to four rows: 12 loads beside 8 multiply-adds, two thirds of the
/// speed on Zen 3.
template <class P>
EIGEN_ALWAYS_INLINE void hold_packet(P& v) {
#if defined(__GNUC__) && defined(__AVX512F__)
    __asm__("" : "+v"(v));
#elif defined(__GNUC__) && defined(__x86_64__)
    __asm__("" : "+x"(v));
#else
    (void)v;
#endif
}

/// Keeps a pointer in a register of its own, where it would be added up anew each time.
template <class T>
EIGEN_ALWAYS_INLINE void hold_pointer(const T*& p) {
#if defined(__GNUC__)
    __asm__("" : "+r"(p));
#else
    (void)p;
#endif
}

/// The pointers of a tile, and one step of k.
template <class T, int kRows, int kPackets, TileLeft kLeft>
struct Cursor {
    static constexpr int panel_packets = GemmTile<T>::packets;
    static constexpr int panels = (kPackets + panel_packets - 1) / panel_packets;
    static constexpr bool is_strip = kLeft == TileLeft::strip;
    // x86 addresses rows 0, 1, 2 of a pointer for free, so three rows share one.
    static constexpr int pointers = kLeft == TileLeft::rows ? (kRows + 2) / 3 : 1;
    /// Packets of B that there are registers for beside the sums and an element of A.
    static constexpr int held = kRows > 1 ? GemmTile<T>::registers - kRows * kPackets - 1 : 0;

    explicit Cursor(const TileCall<T>& t)
        : a_stride(is_strip ? kRows : t.a_stride),
          b(t.b),
          b_stride(is_strip ? GemmTile<T>::columns : t.b_stride),
          b_panel(panels > 1 ? t.b_panel : 0) {
        FASTPROP_UNROLL
        for (int g = 0; g < pointers; ++g) a[g] = t.a + 3 * g * t.a_stride;
    }

    /// Multiplies and adds row k + `ahead`.
    EIGEN_ALWAYS_INLINE void multiply(PacketOf<T> (&acc)[kRows][kPackets], Index ahead) const {
        constexpr int width = Simd<T>::width;
        const T* from = b + ahead * (is_strip ? GemmTile<T>::columns : b_stride);
        PacketOf<T> row[kPackets];
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) {
            row[v] = Simd<T>::load(from + v / panel_packets * b_panel + v % panel_packets * width);
            if (v < held) hold_packet(row[v]);
        }
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            const T x = is_strip                  ? a[0][ahead * kRows + i]
                        : kLeft == TileLeft::rows ? a[i / 3 % pointers][i % 3 * a_stride + ahead]
                                                  : a[0][ahead * a_stride + i];
            const PacketOf<T> left = Simd<T>::set(x);
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) acc[i][v] = pk::pmadd(left, row[v], acc[i][v]);
        }
    }

    EIGEN_ALWAYS_INLINE void advance(Index steps) {
        FASTPROP_UNROLL
        for (int g = 0; g < pointers; ++g) {
            a[g] += kLeft == TileLeft::rows ? steps : steps * (is_strip ? kRows : a_stride);
        }
        b += steps * (is_strip ? GemmTile<T>::columns : b_stride);
    }

    const T* a[pointers];
    Index a_stride;
    const T* b;
    Index b_stride;
    Index b_panel;
};

template <class T, int kRows, int kPackets, TileLeft kLeft>
void run(const TileCall<T>& t) {
    using S = Simd<T>;
    using Packet = PacketOf<T>;
    constexpr int width = S::width;
    const bool full = t.columns == kPackets * width;

    Packet acc[kRows][kPackets];
    FASTPROP_UNROLL
    for (int i = 0; i < kRows; ++i) {
        FASTPROP_UNROLL
        for (int v = 0; v < kPackets; ++v) acc[i][v] = S::set(T(0));
    }
    if (t.resume) {
        alignas(64) T sums[kRows * kPackets * width];
        if (!full) resume_partial(t, sums, kRows, kPackets);
        const T* from = full ? t.c : sums;
        const Index stride = full ? t.c_stride : kPackets * width;
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v) acc[i][v] = S::load(from + i * stride + v * width);
        }
    } else {
        // The lines of C arrive while the sums are made.
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) pk::prefetch(t.c + i * t.c_stride);
    }

    Cursor<T, kRows, kPackets, kLeft> cursor(t);
    Index k = t.k;
    if constexpr (kLeft == TileLeft::strip) {
        for (; k >= 4; k -= 4) {
            cursor.multiply(acc, 0);
            cursor.multiply(acc, 1);
            cursor.multiply(acc, 2);
            cursor.multiply(acc, 3);
            cursor.advance(4);
        }
    }
    for (; k > 0; --k) {
        cursor.multiply(acc, 0);
        cursor.advance(1);
    }

    if (!full) {
        alignas(64) T sums[kRows * kPackets * width];
        FASTPROP_UNROLL
        for (int i = 0; i < kRows; ++i) {
            FASTPROP_UNROLL
            for (int v = 0; v < kPackets; ++v)
                pk::pstore(sums + (i * kPackets + v) * width, acc[i][v]);
        }
        finish_partial(t, sums, kRows, kPackets);
        return;
    }
    finish<T, kRows, kPackets>(t, acc);
}

}  // namespace tile
}  // namespace fastprop
