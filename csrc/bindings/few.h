#pragma once
/// @file
/// @brief Sets and tables of objects by their addresses, of which most backward passes have few.

#include <Python.h>

#include <cstddef>
#include <unordered_map>
#include <utility>
#include <vector>

namespace fastprop {

/// Values by address, in the order in which they came. Up to a dozen are compared one by one, which
/// allocates nothing; a hash table, with its node for every entry, took a tenth of a small pass.
template <class V>
class FewByAddress {
public:
    /// The value, and whether it is new.
    std::pair<V*, bool> emplace(PyObject* key, V value) {
        if (V* known = find(key)) return {known, false};
        if (entries_.empty()) entries_.reserve(kFew);
        entries_.emplace_back(key, std::move(value));
        if (entries_.size() > kFew) index_last();
        return {&entries_.back().second, true};
    }

    V* find(PyObject* key) {
        return const_cast<V*>(static_cast<const FewByAddress*>(this)->find(key));
    }

    const V* find(PyObject* key) const {
        if (entries_.size() > kFew) {
            const auto found = places_.find(key);
            return found == places_.end() ? nullptr : &entries_[found->second].second;
        }
        for (const auto& entry : entries_)
            if (entry.first == key) return &entry.second;
        return nullptr;
    }

    bool contains(PyObject* key) const { return find(key) != nullptr; }

private:
    static constexpr std::size_t kFew = 12;

    void index_last() {
        const std::size_t first = places_.empty() ? 0 : entries_.size() - 1;
        for (std::size_t i = first; i < entries_.size(); ++i) places_.emplace(entries_[i].first, i);
    }

    std::vector<std::pair<PyObject*, V>> entries_;
    std::unordered_map<PyObject*, std::size_t> places_;
};

/// A set of addresses.
class FewAddresses {
public:
    /// Whether it is new.
    bool insert(PyObject* key) { return entries_.emplace(key, {}).second; }
    bool contains(PyObject* key) const { return entries_.contains(key); }

private:
    struct Nothing {};
    FewByAddress<Nothing> entries_;
};

}  // namespace fastprop
