/// @file
/// @brief Gathering rows as bytes: any dtype, any row size.

#include "kernels/gather.h"

#include <algorithm>
#include <cstring>

#include "core/prefetch.h"

namespace fastprop {
namespace {

/// Rows ahead of the one that is copied, since a shuffled row is a cache miss.
constexpr Index kAhead = 16;
constexpr std::size_t kLine = 64;

/// The same for rows of several lines. Of 48 MB of rows of 68 bytes one took 41 ns with 4 rows
/// ahead and takes 24 with 16; with rows of 256 to 800 bytes steps took 1.03 to 1.06 of the time.
Index rows_ahead(std::size_t row_bytes) { return row_bytes <= 2 * kLine ? 16 : 4; }

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

/// Line by line, each with a request for the same line of a later row: on Zen 3 0.86 to 0.96 of the
/// time of asking for the first lines of the later row alone (rows of 400 to 4,000 bytes).
void gather_any(const char* source, const std::int64_t* order, char* batch, Index source_rows,
                Index rows, std::size_t row_bytes) {
    const Index ahead = rows_ahead(row_bytes);
    for (Index i = 0; i < rows; ++i, batch += row_bytes) {
        if (!in_range(order[i], source_rows)) {
            std::memset(batch, 0, row_bytes);
            continue;
        }
        const char* from = source + static_cast<std::size_t>(order[i]) * row_bytes;
        const char* later = from;
        if (i + ahead < rows && in_range(order[i + ahead], source_rows))
            later = source + static_cast<std::size_t>(order[i + ahead]) * row_bytes;
        std::size_t at = 0;
        for (; at + kLine <= row_bytes; at += kLine) {
            prefetch_read(later + at);
            std::memcpy(batch + at, from + at, kLine);
        }
        if (at < row_bytes) {
            prefetch_read(later + at);
            std::memcpy(batch + at, from + at, row_bytes - at);
        }
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
