#pragma once
/// @file
/// @brief Memory on 64-byte boundaries: a cache line, and the widest vector of any level.

#include <cstddef>
#include <memory>
#include <new>

namespace fastprop {

constexpr std::size_t kAlignment = 64;

constexpr std::size_t align_up(std::size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// From this size on memory comes in pages as large as that: a tile of a large matrix touches a
/// page a row, and misses in a virtual machine's TLB are dear. A step of 1024-2048-2048-1000 took 2
/// to 3 % less in three alternating runs, little more than the noise.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

/// The alignment of memory of that size: that of a cache line, or of a huge page.
constexpr std::size_t alignment_of(std::size_t bytes) {
    return bytes < kHugePage ? kAlignment : kHugePage;
}

/// The first boundary of alignment_of(bytes) in somebody's memory of bytes + alignment_of(bytes).
/// Nothing is touched: what nobody writes takes no memory. Nor does what lies behind the last whole
/// huge page: NumPy asks for them from 4 MB on, which would be a megabyte on average.
void* aligned_part(void* memory, std::size_t bytes);

struct AlignedDelete {
    std::size_t alignment = kAlignment;
    void operator()(void* p) const { ::operator delete(p, std::align_val_t(alignment)); }
};

class AlignedBuffer {
public:
    AlignedBuffer() = default;
    /// Zero-filled, so that padding never holds a signalling or denormal value.
    explicit AlignedBuffer(std::size_t bytes);

    void* data() const { return data_.get(); }
    std::size_t bytes() const { return bytes_; }

    /// Grows to at least `bytes`; the contents are lost when it has to grow.
    void reserve(std::size_t bytes) {
        if (bytes > bytes_) *this = AlignedBuffer(bytes);
    }

    template <class T>
    T* as() const {
        return static_cast<T*>(data_.get());
    }

private:
    std::unique_ptr<void, AlignedDelete> data_;
    std::size_t bytes_ = 0;
};

/// Scratch memory of the calling thread, grown on demand and kept. A later call from the same
/// thread with the same `slot` may move it, so a kernel asks once for all that it needs. Slot 0
/// belongs to GEMM packing, slot 1 to everything else.
void* thread_scratch(std::size_t bytes, int slot = 1);

}  // namespace fastprop
