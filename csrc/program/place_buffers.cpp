#include "program/place_buffers.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace fastprop {

std::vector<std::size_t> place_buffers(const std::vector<BufferWish>& wishes) {
    std::vector<std::size_t> order(wishes.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        if (wishes[a].bytes != wishes[b].bytes) return wishes[a].bytes > wishes[b].bytes;
        return wishes[a].start < wishes[b].start;
    });
    std::vector<std::size_t> offsets(wishes.size());
    std::vector<std::pair<std::size_t, std::size_t>> placed;  // offset and number, by offset
    for (const std::size_t i : order) {
        const BufferWish& wish = wishes[i];
        std::size_t end = 0, tightest = 0, found = 0;
        bool fits = false;
        for (const auto& [offset, j] : placed) {
            if (!wish.meets(wishes[j])) continue;
            const std::size_t gap = offset > end ? offset - end : 0;
            if (offset >= end && gap >= wish.bytes && (!fits || gap < tightest)) {
                tightest = gap;
                found = end;
                fits = true;
            }
            end = std::max(end, offset + wishes[j].bytes);
        }
        offsets[i] = fits ? found : end;
        const std::pair<std::size_t, std::size_t> entry{offsets[i], i};
        placed.insert(std::lower_bound(placed.begin(), placed.end(), entry), entry);
    }
    return offsets;
}

}  // namespace fastprop
