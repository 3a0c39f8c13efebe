// Prints the instruction-set levels of the CPU that runs it, as a CMake list.

#include "core/cpu_levels.h"

#include <cstdio>

int main() {
    for (const std::string& level : fastprop::supported_levels()) std::printf("%s;", level.c_str());
    return 0;
}
