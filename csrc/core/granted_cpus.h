#pragma once
/// @file
/// @brief How many CPUs the system grants to this process.

#include <string>

namespace fastprop {

/// By the CPU affinity and the cgroup's quota, whatever the environment asks for.
int granted_cpus();

/// CPUs granted by cgroup v2's cpu.max or v1's cfs quota; 0 where there is no limit.
/// @param root where the files are
int cgroup_quota(const std::string& root = "/sys/fs/cgroup");

}  // namespace fastprop
