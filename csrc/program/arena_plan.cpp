#include "program/arena_plan.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/aligned_buffer.h"

namespace fastprop {
namespace {

constexpr int kNowhere = -1;

std::size_t room(std::size_t bytes) { return std::max(kAlignment, align_up(bytes)); }

/// Whether threads that slice an instruction by its key keep to their slices of a value.
bool fits(int key, const PlanValue& value) {
    if (key < kPartsKey) return kPartsKey - key == value.columns;
    return key == value.key || (key == kBatchKey && value.key == kPartsKey);
}

}  // namespace

/// For the values of a phase the slice key of all who have touched them so far, if they have one
/// and every thread keeps to its own slice.
class ArenaPlan::Touched {
public:
    explicit Touched(const ArenaPlan& plan) : plan_(plan), states_(plan.values_.size()) {}

    void begin_phase() { ++phase_; }

    void add(const PlanItem& item) {
        for (const auto& [value, own] : item.reads) add(item.key, value, own);
        for (const int value : item.writes) add(item.key, value, true);
    }

    bool alike(int value) const { return state(value).phase == phase_ && state(value).alike; }
    int key(int value) const { return state(value).key; }

private:
    struct State {
        int phase = -1;
        bool alike = false;
        int key = 0;
    };

    const State& state(int value) const { return states_[static_cast<std::size_t>(value)]; }

    void add(int key, int value, bool own) {
        State& state = states_[static_cast<std::size_t>(value)];
        const bool first = state.phase != phase_;
        const bool same = first || (state.alike && state.key == key);
        const bool alike = own && same && fits(key, plan_.values_[static_cast<std::size_t>(value)]);
        state = {phase_, alike, key};
    }

    const ArenaPlan& plan_;
    std::vector<State> states_;
    int phase_ = 0;
};

ArenaPlan::ArenaPlan(std::vector<PlanValue> values, std::vector<PlanItem> items,
                     std::vector<int> kept)
    : values_(std::move(values)), items_(std::move(items)), kept_(std::move(kept)) {}

std::vector<int> ArenaPlan::last_uses(const PhasedOrder& order) const {
    std::vector<int> last(values_.size(), kNowhere);
    for (std::size_t position = 0; position < order.items.size(); ++position) {
        const PlanItem& item = items_[static_cast<std::size_t>(order.items[position])];
        const int here = static_cast<int>(position);
        for (const int value : item.writes) last[static_cast<std::size_t>(value)] = here;
        for (const auto& [value, own] : item.reads) last[static_cast<std::size_t>(value)] = here;
    }
    const int behind = static_cast<int>(order.items.size());
    for (const int value : kept_) last[static_cast<std::size_t>(value)] = behind;
    return last;
}

/// An input that nobody reads any more and whose place the last output may take, or -1.
int ArenaPlan::taken_by(const PlanItem& item, int position, const std::vector<int>& last,
                        const Touched& touched) const {
    for (const int value : item.replaceable)
        if (last[static_cast<std::size_t>(value)] == position && touched.alike(value)) return value;
    return kNowhere;
}

/// Buffers as they are taken and left, instruction by instruction.
class ArenaPlan::Sharing {
public:
    Sharing(const ArenaPlan& plan, const PhasedOrder& order)
        : plan_(plan),
          touched_(plan),
          last_(plan.last_uses(order)),
          owner_(plan.values_.size(), kNowhere),
          length_(static_cast<int>(order.items.size())) {}

    void begin_phase(int position) {
        for (const std::size_t buffer : ending_) found_[buffer].wish.end = position;
        ending_.clear();
        dead_.clear();
        touched_.begin_phase();
    }

    void add(const PlanItem& item, int position) {
        touched_.add(item);
        const int taken = plan_.taken_by(item, position, last_, touched_);
        for (const int value : item.writes) give_place(value, item, position, taken);
        for (const auto& [value, own] : item.reads) leave(value, position, taken);
        for (const int value : item.writes) leave(value, position, taken);
    }

    std::vector<SharedBuffer> found() { return std::move(found_); }

private:
    struct Dead {
        int value;
        int key;
        std::size_t buffer;
    };

    int& owner(int value) { return owner_[static_cast<std::size_t>(value)]; }
    const PlanValue& value_of(int value) const {
        return plan_.values_[static_cast<std::size_t>(value)];
    }

    /// `taken`: the input whose place the last output takes.
    void give_place(int value, const PlanItem& item, int position, int taken) {
        const PlanValue& wanted = value_of(value);
        int& buffer = owner(value);
        if (!wanted.in_arena || buffer != kNowhere) return;
        const bool replaces = taken != kNowhere && value == item.last_output;
        buffer = replaces ? owner(taken) : take(item.key, wanted);
        if (buffer == kNowhere) {
            buffer = static_cast<int>(found_.size());
            found_.push_back({{room(wanted.bytes), position, length_}, {}});
        }
        found_[static_cast<std::size_t>(buffer)].values.push_back(value);
    }

    /// The buffer of a value that has died in this phase, if threads slice both in the same way.
    int take(int key, const PlanValue& wanted) {
        for (auto it = dead_.begin(); it != dead_.end(); ++it) {
            const PlanValue& other = value_of(it->value);
            if (other.bytes != wanted.bytes || other.key != wanted.key || it->key != key) continue;
            const std::size_t buffer = it->buffer;
            dead_.erase(it);
            ending_.erase(std::find(ending_.begin(), ending_.end(), buffer));
            return static_cast<int>(buffer);
        }
        return kNowhere;
    }

    void leave(int value, int position, int taken) {
        const int buffer = owner(value);
        int& last = last_[static_cast<std::size_t>(value)];
        if (buffer == kNowhere || value == taken || last != position) return;
        last = kNowhere;  // an instruction may name it twice
        ending_.push_back(static_cast<std::size_t>(buffer));
        if (touched_.alike(value))
            dead_.push_back({value, touched_.key(value), static_cast<std::size_t>(buffer)});
    }

    const ArenaPlan& plan_;
    Touched touched_;
    std::vector<int> last_;
    std::vector<int> owner_;
    int length_;
    std::vector<SharedBuffer> found_;
    std::vector<Dead> dead_;           ///< in this phase, sliced so by all who touched them
    std::vector<std::size_t> ending_;  ///< buffers whose memory is free behind this phase
};

std::vector<SharedBuffer> ArenaPlan::buffers(const PhasedOrder& order) const {
    Sharing sharing(*this, order);
    int phase = 0;
    for (std::size_t at = 0; at < order.items.size(); ++at) {
        const int position = static_cast<int>(at);
        if (order.phases[at] != phase) sharing.begin_phase(position);
        phase = order.phases[at];
        sharing.add(items_[static_cast<std::size_t>(order.items[at])], position);
    }
    return sharing.found();
}

std::size_t ArenaPlan::peak_bytes(const PhasedOrder& order) const {
    std::map<int, std::ptrdiff_t> change;
    for (const SharedBuffer& buffer : buffers(order)) {
        change[buffer.wish.start] += static_cast<std::ptrdiff_t>(buffer.wish.bytes);
        change[buffer.wish.end] -= static_cast<std::ptrdiff_t>(buffer.wish.bytes);
    }
    std::ptrdiff_t most = 0, live = 0;
    for (const auto& [position, bytes] : change) most = std::max(most, live += bytes);
    return static_cast<std::size_t>(most);
}

std::size_t ArenaPlan::total_bytes(const PhasedOrder& order) const {
    std::vector<BufferWish> wishes;
    for (const SharedBuffer& buffer : buffers(order)) wishes.push_back(buffer.wish);
    const std::vector<std::size_t> offsets = place_buffers(wishes);
    std::size_t total = 0;
    for (std::size_t i = 0; i < wishes.size(); ++i)
        total = std::max(total, offsets[i] + wishes[i].bytes);
    return total;
}

std::vector<std::pair<int, std::size_t>> ArenaPlan::places_behind_barriers(
    const PhasedOrder& order) const {
    const std::vector<int> last = last_uses(order);
    std::vector<std::pair<int, std::size_t>> found;
    Touched touched(*this), alone(*this);
    int phase = 0;
    for (std::size_t at = 0; at < order.items.size(); ++at) {
        const PlanItem& item = items_[static_cast<std::size_t>(order.items[at])];
        const int position = static_cast<int>(at);
        if (order.phases[at] != phase) touched.begin_phase();
        phase = order.phases[at];
        touched.add(item);
        if (taken_by(item, position, last, touched) != kNowhere) continue;
        alone.begin_phase();
        alone.add(item);
        const int taken = taken_by(item, position, last, alone);
        if (taken != kNowhere)
            found.emplace_back(position, values_[static_cast<std::size_t>(taken)].bytes);
    }
    return found;
}

std::vector<std::size_t> ArenaPlan::dying_bytes(const PhasedOrder& order) const {
    const std::vector<int> last = last_uses(order);
    std::vector<std::size_t> dying(order.items.size());
    for (std::size_t value = 0; value < values_.size(); ++value) {
        const int position = last[value];
        if (values_[value].in_arena && position != kNowhere &&
            position < static_cast<int>(dying.size()))
            dying[static_cast<std::size_t>(position)] += values_[value].bytes;
    }
    return dying;
}

}  // namespace fastprop
