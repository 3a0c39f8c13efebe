#include "core/spread_team.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace fastprop {

#if defined(__linux__)

namespace {

/// A CPU for every thread: its own if nobody else is there, else the first free one of `usable`;
/// -1 where there is none.
std::vector<int> different_cpus(const std::vector<int>& own, const cpu_set_t& usable) {
    std::vector<int> chosen;
    for (const int cpu : own) {
        const auto free = [&](int c) {
            return CPU_ISSET(c, &usable) != 0 &&
                   std::find(chosen.begin(), chosen.end(), c) == chosen.end();
        };
        int found = cpu >= 0 && free(cpu) ? cpu : -1;
        // Not where a later thread is at home, if that can be helped.
        for (int c = 0; c < CPU_SETSIZE && found < 0; ++c)
            if (free(c) && std::find(own.begin(), own.end(), c) == own.end()) found = c;
        for (int c = 0; c < CPU_SETSIZE && found < 0; ++c)
            if (free(c)) found = c;
        chosen.push_back(found);
    }
    return chosen;
}

}  // namespace

void run_spread_team(int threads, const std::function<void(const Team&)>& body) {
    cpu_set_t usable;
    CPU_ZERO(&usable);
    if (sched_getaffinity(0, sizeof(usable), &usable) != 0) return run_team(threads, body);
    std::vector<int> own(static_cast<std::size_t>(std::max(threads, 1)), -1);
    run_team(threads, [&](const Team& team) {
        const auto rank = static_cast<std::size_t>(team.rank());
        own[rank] = sched_getcpu();
        team.wait();
        const int cpu = different_cpus({own.begin(), own.begin() + team.size()}, usable)[rank];
        cpu_set_t before;
        CPU_ZERO(&before);
        // A thread that is bound to fewer CPUs was placed on purpose.
        const bool moves = sched_getaffinity(0, sizeof(before), &before) == 0 &&
                           CPU_EQUAL(&before, &usable) != 0 && cpu >= 0;
        if (moves) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof(one), &one);
        }
        team.wait();
        body(team);
        if (moves) sched_setaffinity(0, sizeof(before), &before);
    });
}

#else

void run_spread_team(int threads, const std::function<void(const Team&)>& body) {
    run_team(threads, body);
}

#endif

}  // namespace fastprop
