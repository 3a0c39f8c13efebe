#pragma once
/// @file
/// @brief Plans of eager ops by the identity of what was asked for: a look that hashes no tuples.

#include <pybind11/pybind11.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

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

/// Before the dict of plans: the op, the operands' Specs and the values of attributes are compared
/// as pointers. Steps of training repeat them: results carry the Specs of their plans, and numbers
/// that come up often are one object in CPython. Whatever is not found here is looked up there, so
/// nothing depends on it (an addition takes 0.1 of 0.7 µs less).
class PlanCache {
public:
    /// What was asked for; too long a list is never found.
    class Key {
    public:
        void add(PyObject* part) {
            if (count_ < kParts) parts_[count_] = part;
            ++count_;
            hash_ = (hash_ ^ (reinterpret_cast<std::uintptr_t>(part) >> 4)) * 0x9E3779B1u;
        }

        /// Tuples are made anew for every call as a rule: they would only drive others out.
        void add_value(PyObject* value) {
            add(value);
            if (PyTuple_CheckExact(value)) count_ += kParts;
        }

    private:
        friend class PlanCache;
        static constexpr std::size_t kParts = 12;
        std::array<PyObject*, kParts> parts_{};
        std::size_t count_ = 0;
        std::uintptr_t hash_ = 0;
    };

    /// A borrowed reference, or null.
    PyObject* find(const Key& key) const {
        const Entry& entry = entries_[place(key)];
        const bool same = entry.key.count_ == key.count_ && entry.key.parts_ == key.parts_;
        return same && key.count_ <= Key::kParts ? entry.plan : nullptr;
    }

    /// Keeps a plan, and all that its key stands for, in place of another one.
    void put(const Key& key, PyObject* plan) {
        if (key.count_ > Key::kParts) return;
        Entry& entry = entries_[place(key)];
        const Entry before = entry;
        entry = {key, plan};
        for (PyObject* part : key.parts_) Py_XINCREF(part);
        Py_INCREF(plan);
        for (PyObject* part : before.key.parts_) Py_XDECREF(part);
        Py_XDECREF(before.plan);
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
