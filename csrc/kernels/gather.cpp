/// @file
/// @brief Gathering rows as bytes: any dtype, any row size.

#include "kernels/gather.h"

#include <algorithm>
#include <cstring>

#include "core/prefetch.h"

namespace fastprop {
namespace {

/// Rows ahead of the one that is copied. A shuffled row is a cache miss; the first lines of a row
/// are asked for early, and the hardware follows a long row by itself.
constexpr Index kAhead = 8;
constexpr std::size_t kLine = 64;
constexpr std::size_t kPrefetchBytes = 4 * kLine;

bool in_range(std::int64_t index, Index rows) { return index >= 0 && index < rows; }

/// Rows of a size known at compile time are single loads and stores.
template <std::size_t kBytes>
void gather_fixed(const char* source, const std::int64_t* order, char* batch, Index source_rows,
                  Index rows) {
    for (Index i = 0; i < rows; ++i, batch += kBytes) {
        if (i + kAhead < rows && in_range(order[i + kAhead], source_rows))
            prefetch_read(source + static_cast<std::size_t>(order[i + kAhead]) * kBytes);
        if (in_range(order[i], source_rows))
            std::memcpy(batch, source + static_cast<std::size_t>(order[i]) * kBytes, kBytes);
        else
            std::memset(batch, 0, kBytes);
    }
}

void gather_any(const char* source, const std::int64_t* order, char* batch, Index source_rows,
                Index rows, std::size_t row_bytes) {
    const std::size_t ahead_bytes = std::min(row_bytes, kPrefetchBytes);
    for (Index i = 0; i < rows; ++i, batch += row_bytes) {
        if (i + kAhead < rows && in_range(order[i + kAhead], source_rows)) {
            const char* next = source + static_cast<std::size_t>(order[i + kAhead]) * row_bytes;
            for (std::size_t at = 0; at < ahead_bytes; at += kLine) prefetch_read(next + at);
        }
        if (in_range(order[i], source_rows))
            std::memcpy(batch, source + static_cast<std::size_t>(order[i]) * row_bytes, row_bytes);
        else
            std::memset(batch, 0, row_bytes);
    }
}

}  // namespace

void gather_rows(const void* source, const std::int64_t* order, void* batch, Index source_rows,
                 Index rows, std::size_t row_bytes) {
    const char* from = static_cast<const char*>(source);
    char* to = static_cast<char*>(batch);
    switch (row_bytes) {
        case 0:
            return;
        case 1:
            return gather_fixed<1>(from, order, to, source_rows, rows);
        case 4:
            return gather_fixed<4>(from, order, to, source_rows, rows);
        case 8:
            return gather_fixed<8>(from, order, to, source_rows, rows);
        case 12:
            return gather_fixed<12>(from, order, to, source_rows, rows);
        case 16:
            return gather_fixed<16>(from, order, to, source_rows, rows);
        case 20:
            return gather_fixed<20>(from, order, to, source_rows, rows);
        case 24:
            return gather_fixed<24>(from, order, to, source_rows, rows);
        case 28:
            return gather_fixed<28>(from, order, to, source_rows, rows);
        case 32:
            return gather_fixed<32>(from, order, to, source_rows, rows);
        case 48:
            return gather_fixed<48>(from, order, to, source_rows, rows);
        case 64:
            return gather_fixed<64>(from, order, to, source_rows, rows);
        default:
            return gather_any(from, order, to, source_rows, rows, row_bytes);
    }
}

}  // namespace fastprop
