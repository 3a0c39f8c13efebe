#include "core/granted_cpus.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace fastprop {
namespace {

int affinity_count() {
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

int cgroup_quota(const std::string& root) {
    std::ifstream v2(root + "/cpu.max");
    std::string quota;
    double period = 0;
    if (v2 >> quota >> period && quota != "max" && period > 0)
        return std::max(1, static_cast<int>(std::strtod(quota.c_str(), nullptr) / period + 0.5));
    double quota_us = 0;
    double period_us = 0;
    std::ifstream q(root + "/cpu/cpu.cfs_quota_us");
    std::ifstream p(root + "/cpu/cpu.cfs_period_us");
    if (q >> quota_us && p >> period_us && quota_us > 0 && period_us > 0)
        return std::max(1, static_cast<int>(quota_us / period_us + 0.5));
    return 0;
}

int granted_cpus() {
    const int quota = cgroup_quota();
    return quota > 0 ? std::min(affinity_count(), quota) : affinity_count();
}

}  // namespace fastprop
