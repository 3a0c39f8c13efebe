#include "core/aligned_buffer.h"

namespace fastprop {

void* thread_scratch(std::size_t bytes, int slot) {
    thread_local AlignedBuffer buffers[2];
    buffers[slot].reserve(bytes);
    return buffers[slot].data();
}

}  // namespace fastprop
