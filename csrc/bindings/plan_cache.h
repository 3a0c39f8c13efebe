#pragma once
/// @file
/// @brief Plans of eager ops by what was asked for: a look that hashes no tuples.

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bindings/tensor_slots.h"

namespace fastprop {

/// Plans that are kept; beyond it they are forgotten and made anew.
constexpr Py_ssize_t kMaxPlans = 4096;

/// -0.0 equals 0.0, and must not find its plan.
inline bool is_negative_zero(PyObject* value) {
    if (PyFloat_Check(value) == 0) return false;
    const double number = PyFloat_AS_DOUBLE(value);
    return number == 0 && std::signbit(number);
}

/// The one object for all Specs that are equal: the tables by identity would otherwise fill up.
inline PyObject* shared_spec(PyObject* spec) {
    static PyObject* const specs = PyDict_New();
    if (specs == nullptr) throw pybind11::error_already_set();
    if (PyDict_Size(specs) >= kMaxPlans) PyDict_Clear(specs);
    PyObject* shared = PyDict_SetDefault(specs, spec, spec);
    if (shared == nullptr) throw pybind11::error_already_set();
    return shared;
}

/// Gives a Tensor, a leaf that came with its own Spec, the shared one.
inline void share_spec(PyObject* tensor) {
    PyObject* shared = shared_spec(slot(tensor, slot_spec));
    if (shared != slot(tensor, slot_spec)) replace(tensor, slot_spec, shared);
}

/// Before the dict of plans: the op and the operands' Specs are compared as pointers, the values of
/// attributes as numbers. Steps of training repeat them: results carry the Specs of their plans.
/// Whatever is not found here is looked up there, so nothing depends on it (an addition takes 0.1
/// of 0.7 µs less).
class PlanCache {
public:
    /// What was asked for; too long a list is never found.
    class Key {
    public:
        void add(PyObject* part) {
            if (objects_ < kObjects) object_[objects_] = part;
            ++objects_;
            mix(reinterpret_cast<std::uintptr_t>(part) >> 4);
        }

        /// Numbers, and tuples of integers, which are made anew for every call, by their type and
        /// what they are; anything else by its identity.
        void add_value(PyObject* value) {
            if (PyLong_CheckExact(value) || PyFloat_CheckExact(value)) {
                add(reinterpret_cast<PyObject*>(Py_TYPE(value)));
                add_word(word_of(value));
            } else if (PyTuple_CheckExact(value)) {
                add_tuple(value);
            } else {
                add(value);
            }
        }

    private:
        friend class PlanCache;
        static constexpr std::size_t kObjects = 12;
        static constexpr std::size_t kWords = 12;

        void add_word(std::uint64_t word) {
            if (words_ < kWords) word_[words_] = word;
            ++words_;
            mix(static_cast<std::uintptr_t>(word ^ (word >> 32)));
        }

        /// The bits of a number; one that does not fit is never found.
        std::uint64_t word_of(PyObject* value) {
            std::uint64_t word = 0;
            if (PyFloat_CheckExact(value)) {
                const double number = PyFloat_AS_DOUBLE(value);
                std::memcpy(&word, &number, sizeof word);
            } else {
                int overflow = 0;
                word = static_cast<std::uint64_t>(PyLong_AsLongLongAndOverflow(value, &overflow));
                if (overflow != 0) forget();
            }
            return word;
        }

        /// Extents and places, up to four in a word.
        void add_tuple(PyObject* tuple) {
            const Py_ssize_t count = PyTuple_GET_SIZE(tuple);
            add(reinterpret_cast<PyObject*>(&PyTuple_Type));
            add_word(static_cast<std::uint64_t>(count));
            std::uint64_t word = 0;
            for (Py_ssize_t i = 0; i < count; ++i) {
                PyObject* item = PyTuple_GET_ITEM(tuple, i);
                if (!PyLong_CheckExact(item)) return forget();
                int overflow = 0;
                const long number = PyLong_AsLongAndOverflow(item, &overflow);
                if (overflow != 0 || number < -0x8000 || number > 0x7fff) return forget();
                word = word << 16 | static_cast<std::uint16_t>(number);
                if (i % 4 == 3 || i + 1 == count) {
                    add_word(word);
                    word = 0;
                }
            }
        }

        void forget() { objects_ = kObjects + 1; }

        void mix(std::uintptr_t part) { hash_ = (hash_ ^ part) * 0x9E3779B1u; }

        bool usable() const { return objects_ <= kObjects && words_ <= kWords; }

        bool operator==(const Key& other) const {
            return hash_ == other.hash_ && objects_ == other.objects_ && words_ == other.words_ &&
                   std::equal(object_, object_ + objects_, other.object_) &&
                   std::equal(word_, word_ + words_, other.word_);
        }

        // Only as many of them as were added have a value.
        PyObject* object_[kObjects];
        std::uint64_t word_[kWords];
        std::size_t objects_ = 0;
        std::size_t words_ = 0;
        std::uintptr_t hash_ = 0;
    };

    /// A borrowed reference, or null.
    PyObject* find(const Key& key) const {
        const Entry& entry = entries_[place(key)];
        return key.usable() && entry.plan != nullptr && entry.key == key ? entry.plan : nullptr;
    }

    /// Keeps a plan, and all that its key stands for, in place of another one.
    void put(const Key& key, PyObject* plan) {
        if (!key.usable()) return;
        Entry& entry = entries_[place(key)];
        const Entry before = entry;
        entry = {key, plan};
        for (std::size_t i = 0; i < key.objects_; ++i) Py_INCREF(key.object_[i]);
        Py_INCREF(plan);
        if (before.plan == nullptr) return;
        for (std::size_t i = 0; i < before.key.objects_; ++i) Py_DECREF(before.key.object_[i]);
        Py_DECREF(before.plan);
    }

private:
    struct Entry {
        Key key;
        PyObject* plan = nullptr;
    };

    static constexpr std::size_t kEntries = 512;

    static std::size_t place(const Key& key) { return (key.hash_ >> 7) % kEntries; }

    std::array<Entry, kEntries> entries_{};
};

}  // namespace fastprop
