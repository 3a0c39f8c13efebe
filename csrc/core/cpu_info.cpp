#include "core/cpu_info.h"

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "core/check.h"
#include "core/cpu_levels.h"

#if defined(__linux__)
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>

#include <vector>
#endif

namespace fastprop {
namespace {

void set_cache(CacheSizes& sizes, int level, std::size_t bytes) {
    if (level == 1) sizes.l1d = bytes;
    if (level == 2) sizes.l2 = bytes;
    if (level == 3) sizes.l3 = bytes;
}

#if defined(__linux__)

std::string first_line(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

/// "48K" as sysfs writes it.
std::size_t parse_size(const std::string& text) {
    char* end = nullptr;
    const unsigned long long value = std::strtoull(text.c_str(), &end, 10);
    const std::size_t unit = *end == 'K' ? 1024 : *end == 'M' ? 1024 * 1024 : 1;
    return static_cast<std::size_t>(value) * unit;
}

CacheSizes detect_caches() {
    CacheSizes sizes;
    for (int i = 0; i < 8; ++i) {
        const std::string folder =
            "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
        const std::string level = first_line(folder + "level");
        if (level.empty()) break;
        if (first_line(folder + "type") == "Instruction") continue;
        set_cache(sizes, std::atoi(level.c_str()), parse_size(first_line(folder + "size")));
    }
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    const auto from_sysconf = [](int name) {
        const long bytes = sysconf(name);
        return bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
    };
    if (sizes.l1d == 0) sizes.l1d = from_sysconf(_SC_LEVEL1_DCACHE_SIZE);
    if (sizes.l2 == 0) sizes.l2 = from_sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (sizes.l3 == 0) sizes.l3 = from_sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return sizes;
}

#elif defined(__APPLE__)

std::size_t from_sysctl(const char* name) {
    std::int64_t value = 0;
    std::size_t size = sizeof(value);
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value > 0
               ? static_cast<std::size_t>(value)
               : 0;
}

CacheSizes detect_caches() {
    // Apple's own chips have two kinds of cores; perflevel0 is the fast one.
    CacheSizes sizes;
    sizes.l1d = from_sysctl("hw.perflevel0.l1dcachesize");
    sizes.l2 = from_sysctl("hw.perflevel0.l2cachesize");
    if (sizes.l1d == 0) sizes.l1d = from_sysctl("hw.l1dcachesize");
    if (sizes.l2 == 0) sizes.l2 = from_sysctl("hw.l2cachesize");
    sizes.l3 = from_sysctl("hw.l3cachesize");
    return sizes;
}

#elif defined(_WIN32)

CacheSizes detect_caches() {
    CacheSizes sizes;
    DWORD bytes = 0;
    GetLogicalProcessorInformation(nullptr, &bytes);
    std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> entries(bytes / sizeof(entries[0]));
    if (entries.empty() || !GetLogicalProcessorInformation(entries.data(), &bytes)) return sizes;
    for (const auto& entry : entries) {
        if (entry.Relationship != RelationCache || entry.Cache.Type == CacheInstruction) continue;
        set_cache(sizes, entry.Cache.Level, entry.Cache.Size);
    }
    return sizes;
}

#else

CacheSizes detect_caches() { return {}; }

#endif

}  // namespace

const CacheSizes& cache_sizes() {
    static const CacheSizes sizes = [] {
        CacheSizes detected = detect_caches();
        if (detected.l1d == 0) detected.l1d = 32 * 1024;
        if (detected.l2 == 0) detected.l2 = 512 * 1024;
        return detected;
    }();
    return sizes;
}

std::string cpu_name() {
    std::string name;
#if defined(FASTPROP_X86_64)
    if (cpuid(0x80000000u, 0).eax >= 0x80000004u) {
        char text[49] = {};
        for (std::uint32_t i = 0; i < 3; ++i) {
            const CpuidRegisters r = cpuid(0x80000002u + i, 0);
            const std::uint32_t words[4] = {r.eax, r.ebx, r.ecx, r.edx};
            std::memcpy(text + 16 * i, words, 16);
        }
        name = text;
    }
#elif defined(__APPLE__)
    char text[128] = {};
    std::size_t size = sizeof(text) - 1;
    if (sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0) name = text;
#elif defined(__linux__)
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; name.empty() && std::getline(file, line);)
        if (line.rfind("model name", 0) == 0) name = line.substr(line.find(':') + 1);
#endif
    const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
    while (!name.empty() && is_space(name.back())) name.pop_back();
    while (!name.empty() && is_space(name.front())) name.erase(name.begin());
    return name.empty() ? "unknown" : name;
}

std::string compiler_name() {
#if defined(__apple_build_version__)
    return concat("AppleClang ", __clang_major__, '.', __clang_minor__, '.', __clang_patchlevel__);
#elif defined(__clang__)
    return concat("Clang ", __clang_major__, '.', __clang_minor__, '.', __clang_patchlevel__);
#elif defined(__GNUC__)
    return concat("GCC ", __GNUC__, '.', __GNUC_MINOR__, '.', __GNUC_PATCHLEVEL__);
#elif defined(_MSC_VER)
    return concat("MSVC ", _MSC_VER / 100, '.', _MSC_VER % 100);
#else
    return "unknown";
#endif
}

}  // namespace fastprop
