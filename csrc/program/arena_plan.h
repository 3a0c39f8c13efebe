#pragma once
/// @file
/// @brief Which values of a step share memory, and from when to when; see graph/memory.py.

#include <cstddef>
#include <utility>
#include <vector>

#include "program/place_buffers.h"

namespace fastprop {

/// Slice keys, as in graph/ir.py: of values that vary with the batch, and of values that hold one
/// result for each chunk of it. Below are those of instructions that are sliced by columns.
constexpr int kBatchKey = -1;
constexpr int kPartsKey = -3;

/// Memory that a step reads or writes, under whatever shapes.
struct PlanValue {
    std::size_t bytes = 0;
    int key = 0;            ///< two instructions with one key give each thread the same indices
    int columns = 0;        ///< extent of the last axis
    bool in_arena = false;  ///< it takes a place in the arena for a part of the step
};

/// What planning knows of an instruction; values are numbers.
struct PlanItem {
    int key = 0;
    std::vector<std::pair<int, bool>> reads;  ///< and whether a thread reads its own slice only
    std::vector<int> writes;
    int last_output = -1;          ///< the last output, if that is no alias
    std::vector<int> replaceable;  ///< values as large and of its key, whose place it may take
};

/// Memory that one value after the other uses.
struct SharedBuffer {
    BufferWish wish;
    std::vector<int> values;
};

/// Instructions in some order, and the phase of each.
struct PhasedOrder {
    std::vector<int> items;
    std::vector<int> phases;
};

/// In C++ because a search for barriers asks many times: 300 instructions took Python 3 ms each
/// time.
class ArenaPlan {
public:
    /// @param kept values that are read after the last instruction
    ArenaPlan(std::vector<PlanValue> values, std::vector<PlanItem> items, std::vector<int> kept);

    /// Memory is free again after the barrier that follows its last reader; within a phase only for
    /// a value that every thread slices in the same way.
    std::vector<SharedBuffer> buffers(const PhasedOrder& order) const;

    /// What is live at the fullest moment.
    std::size_t peak_bytes(const PhasedOrder& order) const;

    /// Bytes of the arena.
    std::size_t total_bytes(const PhasedOrder& order) const;

    /// Where an output could take the place of an input if a phase began there: position and bytes.
    std::vector<std::pair<int, std::size_t>> places_behind_barriers(const PhasedOrder& order) const;

    /// Bytes in the arena whose last use is at each position.
    std::vector<std::size_t> dying_bytes(const PhasedOrder& order) const;

    std::size_t num_items() const { return items_.size(); }

private:
    class Touched;
    class Sharing;

    std::vector<int> last_uses(const PhasedOrder& order) const;
    int taken_by(const PlanItem& item, int position, const std::vector<int>& last,
                 const Touched& touched) const;

    std::vector<PlanValue> values_;
    std::vector<PlanItem> items_;
    std::vector<int> kept_;
};

}  // namespace fastprop
