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

std::vector<SharedBuffer> ArenaPlan::buffers(const PhasedOrder& order) const {
    struct Dead {
        int value;
        int key;
        std::size_t buffer;
    };
    const std::vector<int> last = last_uses(order);
    const int length = static_cast<int>(order.items.size());
    std::vector<SharedBuffer> found;
    std::vector<int> owner(values_.size(), kNowhere);
    std::vector<Dead> dead;           // in this phase, sliced so by all who touched them
    std::vector<std::size_t> ending;  // buffers whose memory is free behind this phase
    Touched touched(*this);

    const auto take = [&](int key, const PlanValue& wanted) {
        for (auto it = dead.begin(); it != dead.end(); ++it) {
            const PlanValue& other = values_[static_cast<std::size_t>(it->value)];
            if (other.bytes != wanted.bytes || other.key != wanted.key || it->key != key) continue;
            const std::size_t buffer = it->buffer;
            dead.erase(it);
            ending.erase(std::find(ending.begin(), ending.end(), buffer));
            return static_cast<int>(buffer);
        }
        return kNowhere;
    };

    int phase = 0;
    for (int position = 0; position < length; ++position) {
        const auto at = static_cast<std::size_t>(position);
        const PlanItem& item = items_[static_cast<std::size_t>(order.items[at])];
        if (order.phases[at] != phase) {
            for (const std::size_t buffer : ending) found[buffer].wish.end = position;
            ending.clear();
            dead.clear();
            touched.begin_phase();
            phase = order.phases[at];
        }
        touched.add(item);
        const int taken = taken_by(item, position, last, touched);
        for (const int value : item.writes) {
            const PlanValue& wanted = values_[static_cast<std::size_t>(value)];
            int& buffer = owner[static_cast<std::size_t>(value)];
            if (!wanted.in_arena || buffer != kNowhere) continue;
            const bool replaces = taken != kNowhere && value == item.last_output;
            buffer = replaces ? owner[static_cast<std::size_t>(taken)] : take(item.key, wanted);
            if (buffer == kNowhere) {
                buffer = static_cast<int>(found.size());
                found.push_back({{room(wanted.bytes), position, length}, {}});
            }
            found[static_cast<std::size_t>(buffer)].values.push_back(value);
        }
        const auto leave = [&](int value) {
            const int buffer = owner[static_cast<std::size_t>(value)];
            if (buffer == kNowhere || value == taken) return;
            if (last[static_cast<std::size_t>(value)] != position) return;
            ending.push_back(static_cast<std::size_t>(buffer));
            if (touched.alike(value))
                dead.push_back({value, touched.key(value), static_cast<std::size_t>(buffer)});
        };
        for (std::size_t i = 0; i < item.reads.size(); ++i) {
            const int value = item.reads[i].first;
            const auto same = [value](const std::pair<int, bool>& read) {
                return read.first == value;
            };
            const auto begin = item.reads.begin();
            if (std::find_if(begin, begin + static_cast<std::ptrdiff_t>(i), same) ==
                begin + static_cast<std::ptrdiff_t>(i))
                leave(value);
        }
        for (auto it = item.writes.begin(); it != item.writes.end(); ++it) {
            const int value = *it;
            const bool read = std::any_of(item.reads.begin(), item.reads.end(),
                                          [value](const auto& r) { return r.first == value; });
            if (!read && std::find(item.writes.begin(), it, value) == it) leave(value);
        }
    }
    return found;
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
