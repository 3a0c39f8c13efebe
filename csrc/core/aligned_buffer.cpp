#include "core/aligned_buffer.h"

#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastprop {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

std::size_t page_alignment(std::size_t bytes) { return bytes < kHugePage ? kAlignment : kHugePage; }

void ask_for_huge_pages(void* memory, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (page_alignment(bytes) == kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);  // may fail
#else
    (void)memory, (void)bytes;
#endif
}

AlignedBuffer::AlignedBuffer(std::size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    const std::size_t alignment = page_alignment(bytes);
    const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
    void* memory = ::operator new(size, std::align_val_t(alignment));
    data_ = std::unique_ptr<void, AlignedDelete>(memory, AlignedDelete{alignment});
    ask_for_huge_pages(memory, size);
    std::memset(memory, 0, size);
}

void* thread_scratch(std::size_t bytes, int slot) {
    thread_local AlignedBuffer buffers[2];
    buffers[slot].reserve(bytes);
    return buffers[slot].data();
}

}  // namespace fastprop
