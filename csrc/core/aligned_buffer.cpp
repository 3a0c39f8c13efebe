#include "core/aligned_buffer.h"

#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastprop {
namespace {

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

void prefer_huge_pages(void* memory, std::size_t bytes) { advise_huge_pages(memory, bytes, true); }

void prefer_small_pages(void* memory, std::size_t bytes) {
    advise_huge_pages(memory, bytes, false);
}

AlignedBuffer::AlignedBuffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    const std::size_t alignment = alignment_of(bytes);
    const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
    void* memory = ::operator new(size, std::align_val_t(alignment));
    data_ = std::unique_ptr<void, AlignedDelete>(memory, AlignedDelete{alignment});
    if (alignment == kHugePage) prefer_huge_pages(memory, size);
    std::memset(memory, 0, size);
}

void* thread_scratch(std::size_t bytes, int slot) {
    thread_local AlignedBuffer buffers[2];
    buffers[slot].reserve(bytes);
    return buffers[slot].data();
}

}  // namespace fastprop
