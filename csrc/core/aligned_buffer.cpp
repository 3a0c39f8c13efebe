#include "core/aligned_buffer.h"

#include <cstdint>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastprop {
namespace {

/// A hint: the system may have none.
void advise_huge_pages(void* memory, std::size_t bytes, bool wanted) {
#if defined(__linux__) && defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)
    madvise(memory, bytes, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
    static_cast<void>(memory);
    static_cast<void>(bytes);
    static_cast<void>(wanted);
#endif
}

}  // namespace

void* aligned_part(void* memory, std::size_t bytes) {
    const std::size_t alignment = alignment_of(bytes);
    const std::size_t behind = reinterpret_cast<std::uintptr_t>(memory) % alignment;
    char* begin = static_cast<char*>(memory) + (behind == 0 ? 0 : alignment - behind);
    if (alignment == kHugePage) {
        const std::size_t whole = bytes / kHugePage * kHugePage;
        advise_huge_pages(begin, whole, true);
        advise_huge_pages(begin + whole, bytes - whole, false);
    }
    return begin;
}

AlignedBuffer::AlignedBuffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    const std::size_t alignment = alignment_of(bytes);
    const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
    void* memory = ::operator new(size, std::align_val_t(alignment));
    data_ = std::unique_ptr<void, AlignedDelete>(memory, AlignedDelete{alignment});
    if (alignment == kHugePage) advise_huge_pages(memory, size, true);
    std::memset(memory, 0, size);
}

void* thread_scratch(std::size_t bytes, int slot) {
    thread_local AlignedBuffer buffers[2];
    buffers[slot].reserve(bytes);
    return buffers[slot].data();
}

}  // namespace fastprop
