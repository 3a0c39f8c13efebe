// The vocabulary: Team, Barrier, Philox, aligned memory, denormals, CPU information.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/check.h"
#include "core/cpu_info.h"
#include "core/cpu_levels.h"
#include "core/denormals.h"
#include "core/device.h"
#include "core/granted_cpus.h"
#include "core/level.h"
#include "core/line_round_trip.h"
#include "core/philox.h"
#include "core/team.h"
#include "core/tensor_view.h"
#include "program/strips.h"

namespace fastprop {
namespace {

TEST(Team, SlicesCoverTheExtentExactly) {
    for (int size = 1; size <= 9; ++size) {
        for (Index extent :
             {0, 1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 63, 64, 65, 100, 127, 128, 1000}) {
            Index next = 0;
            for (int rank = 0; rank < size; ++rank) {
                const Range slice = Team(rank, size, nullptr).slice(extent);
                ASSERT_EQ(slice.begin, next) << "extent " << extent << ", rank " << rank;
                ASSERT_LE(slice.begin, slice.end);
                next = slice.end;
            }
            ASSERT_EQ(next, extent) << "extent " << extent << ", size " << size;
        }
    }
}

// A thread's chunks, one by one or all at once, are the same rows, and no more than planned.
TEST(Team, ColumnsCoverTheExtentInWholeUnits) {
    for (Index extent : {0, 1, 8, 15, 16, 17, 31, 100, 1000}) {
        for (const Index unit : {8, 16}) {
            for (int size : {1, 2, 3, 5, 8}) {
                Index end = 0;
                for (int rank = 0; rank < size; ++rank) {
                    const Range columns = Team(rank, size, nullptr).columns(extent, unit);
                    EXPECT_EQ(columns.begin, end);
                    EXPECT_EQ(columns.begin % unit, 0);
                    EXPECT_LT(columns.size(), extent / size + 2 * unit);
                    end = columns.end;
                }
                EXPECT_EQ(end, extent);
            }
        }
    }
}

TEST(Team, ChunksCoverTheExtentWhateverTheNumberOfThreads) {
    for (Index chunks : {1, 2, 7, 16, 160}) {
        for (Index extent : {0, 1, 5, 31, 159, 160, 161, 1000, 2559, 2560, 2561, 10000}) {
            for (int threads : {1, 2, 3, 8}) {
                Index next = 0;
                for (int rank = 0; rank < threads; ++rank) {
                    const Range own = Team(rank, threads, nullptr).share(chunks);
                    const Range all = Team::of_chunks(own, chunks).slice(extent);
                    ASSERT_EQ(all.begin, own.empty() ? all.begin : next);
                    for (Index c = own.begin; c < own.end; ++c) {
                        const Range slice = Team::of_chunks({c, c + 1}, chunks).slice(extent);
                        ASSERT_EQ(slice.begin, next);
                        ASSERT_LE(slice.size(), rows_of_chunk(std::max<Index>(extent, 1), chunks));
                        ASSERT_LE(slice.size(), rows_of_chunk(10000, chunks));
                        next = slice.end;
                        const Range part = Team::of_chunks({c, c + 1}, chunks).slice(chunks);
                        ASSERT_TRUE(part.begin == c && part.end == c + 1);
                    }
                    if (!own.empty()) {
                        ASSERT_EQ(all.end, next);
                    }
                }
                ASSERT_EQ(next, extent) << "extent " << extent << ", chunks " << chunks;
            }
        }
    }
}

TEST(Team, ScalarBelongsToOneMemberOnly) {
    for (int size = 1; size <= 8; ++size) {
        int owners = 0;
        for (int rank = 0; rank < size; ++rank)
            owners += Team(rank, size, nullptr).slice(1).empty() ? 0 : 1;
        EXPECT_EQ(owners, 1);
    }
}

TEST(Team, EveryMemberRunsOnce) {
    for (int threads : {1, 2, 3, 8}) {
        std::atomic<int> members{0};
        std::atomic<int> ranks{0};
        std::atomic<int> size{0};
        run_team(threads, [&](const Team& team) {
            ++members;
            ranks += team.rank();
            size = team.size();
        });
        EXPECT_EQ(members, size);
        EXPECT_EQ(ranks, size * (size - 1) / 2);
        EXPECT_LE(size, threads);
    }
}

// Each round every member adds to its own cell, waits, and checks every other member's cell. With
// many more members than cores this only ends if waiting members give their core away.
TEST(Team, BarrierHoldsWithMoreThreadsThanCores) {
    constexpr int kThreads = 12;
    constexpr int kRounds = 300;
    std::vector<int> cells(kThreads, 0);
    std::atomic<int> errors{0};
    run_team(kThreads, [&](const Team& team) {
        for (int round = 1; round <= kRounds; ++round) {
            cells[static_cast<std::size_t>(team.rank())] = round;
            team.wait();
            for (int other = 0; other < team.size(); ++other)
                if (cells[static_cast<std::size_t>(other)] != round) ++errors;
            team.wait();
        }
    });
    EXPECT_EQ(errors, 0);
}

TEST(Team, ManyShortRuns) {
    std::atomic<int> total{0};
    for (int run = 0; run < 500; ++run) {
        run_team(3, [&](const Team& team) {
            team.wait();
            if (team.rank() == 0) ++total;
        });
    }
    EXPECT_EQ(total, 500);
}

TEST(Team, AvailableThreadsIsPositive) { EXPECT_GE(available_threads(), 1); }

TEST(GrantedCpus, AreWhatTheQuotaAllows) {
    const std::filesystem::path root = std::filesystem::path(testing::TempDir()) / "cgroup";
    std::filesystem::create_directories(root / "cpu");
    const auto write = [&](const char* name, const char* text) {
        std::ofstream(root / name) << text;
    };
    EXPECT_EQ(cgroup_quota(root.string()), 0);
    write("cpu/cpu.cfs_quota_us", "-1");
    write("cpu/cpu.cfs_period_us", "100000");
    EXPECT_EQ(cgroup_quota(root.string()), 0);
    write("cpu/cpu.cfs_quota_us", "300000");
    EXPECT_EQ(cgroup_quota(root.string()), 3);
    write("cpu.max", "max 100000");
    EXPECT_EQ(cgroup_quota((root / "nowhere").string()), 0);
    write("cpu.max", "150000 100000");
    EXPECT_EQ(cgroup_quota(root.string()), 2);
    write("cpu.max", "1000 100000");
    EXPECT_EQ(cgroup_quota(root.string()), 1);
    std::filesystem::remove_all(root);
    EXPECT_GE(granted_cpus(), 1);
}

// Known answers of Philox4x32-10, published with Random123 (its kat_vectors).
TEST(Philox, KnownAnswers) {
    const auto key = [](std::uint32_t low, std::uint32_t high) {
        return std::uint64_t{high} << 32 | low;
    };
    EXPECT_EQ(philox4x32({0, 0, 0, 0}, 0),
              (Philox4{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}));
    constexpr std::uint32_t ones = 0xffffffffu;
    EXPECT_EQ(philox4x32({ones, ones, ones, ones}, key(ones, ones)),
              (Philox4{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}));
    // The digits of pi.
    EXPECT_EQ(philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u},
                         key(0xa4093822u, 0x299f31d0u)),
              (Philox4{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}));
}

TEST(Philox, EachCoordinateMatters) {
    const Philox4 base = philox_block(1, 2, 3, 4);
    EXPECT_EQ(base, philox_block(1, 2, 3, 4));
    EXPECT_NE(base, philox_block(9, 2, 3, 4));
    EXPECT_NE(base, philox_block(1, 9, 3, 4));
    EXPECT_NE(base, philox_block(1, 2, 9, 4));
    EXPECT_NE(base, philox_block(1, 2, 3, 9));
    EXPECT_NE(base, philox_block(1, 2, 3, 4 + (std::uint64_t{1} << 32)));
}

TEST(Philox, UniformStaysBelowOne) {
    EXPECT_EQ(uniform_float(0), 0.0f);
    EXPECT_LT(uniform_float(0xffffffffu), 1.0f);
    EXPECT_EQ(uniform_double(0, 0), 0.0);
    EXPECT_LT(uniform_double(0xffffffffu, 0xffffffffu), 1.0);
}

bool is_aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % kAlignment == 0; }

TEST(AlignedBuffer, AlignedAndZeroed) {
    for (std::size_t bytes : {1, 63, 64, 65, 1000, 4096}) {
        const AlignedBuffer buffer(bytes);
        EXPECT_TRUE(is_aligned(buffer.data()));
        EXPECT_EQ(buffer.bytes(), bytes);
        const char* begin = buffer.as<char>();
        EXPECT_TRUE(std::all_of(begin, begin + align_up(bytes), [](char c) { return c == 0; }));
    }
}

TEST(AlignedBuffer, EmptyAndReserve) {
    AlignedBuffer buffer;
    EXPECT_EQ(buffer.data(), nullptr);
    buffer.reserve(100);
    void* const first = buffer.data();
    EXPECT_NE(first, nullptr);
    buffer.reserve(50);
    EXPECT_EQ(buffer.data(), first);
    buffer.reserve(1000);
    EXPECT_EQ(buffer.bytes(), 1000u);
}

TEST(AlignedBuffer, ScratchIsKeptPerThreadAndSlot) {
    void* const a = thread_scratch(100, 0);
    void* const b = thread_scratch(100, 1);
    EXPECT_NE(a, b);
    EXPECT_TRUE(is_aligned(a));
    EXPECT_EQ(thread_scratch(80, 0), a);
}

TEST(Denormals, FlushedInsideAndRestoredAfter) {
    volatile float smallest = std::numeric_limits<float>::min();
    volatile float half = 0.5f;
    ASSERT_GT(smallest * half, 0.0f);
    {
        const FlushDenormals flush;
#if defined(__SSE__) || defined(_M_X64) || defined(__aarch64__)
        EXPECT_EQ(smallest * half, 0.0f);
#endif
    }
    EXPECT_GT(smallest * half, 0.0f);
}

TEST(TensorView, Extents) {
    const TensorView scalar;
    EXPECT_EQ(scalar.size(), 1);
    EXPECT_EQ(scalar.rows(), 1);
    EXPECT_FALSE(scalar.present());
    TensorView t;
    t.dtype = DType::f64;
    t.rank = 3;
    t.shape[0] = 4;
    t.shape[1] = 5;
    t.shape[2] = 6;
    EXPECT_EQ(t.size(), 120);
    EXPECT_EQ(t.bytes(), 960u);
    EXPECT_EQ(t.row_size(), 30);
    EXPECT_EQ(t.last(), 6);
    EXPECT_EQ(t.outer(), 20);
}

TEST(Check, MessageIsPutTogether) {
    EXPECT_NO_THROW(require(true, "never seen"));
    try {
        require(false, "dense_forward: x has ", 3, " columns, W expects ", 4);
        FAIL() << "require did not throw";
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "dense_forward: x has 3 columns, W expects 4");
    }
}

TEST(CpuInfo, CachesAreOfThePossible) {
    const CacheSizes& caches = cache_sizes();
    EXPECT_GE(caches.l1d, 4u * 1024);
    EXPECT_LE(caches.l1d, 1024u * 1024);
    EXPECT_GE(caches.l2, caches.l1d);
    EXPECT_FALSE(cpu_name().empty());
}

TEST(CpuInfo, RunsOnlyLevelsThatThisCpuHas) {
    const std::string level = level_name();
    if (level == "native") GTEST_SKIP() << "built for this machine";
    const std::vector<std::string> supported = supported_levels();
    EXPECT_NE(std::find(supported.begin(), supported.end(), level), supported.end());
}

TEST(LineRoundTrip, EachThreadButTheFirstHasOneAndItIsOfThePossible) {
    EXPECT_TRUE(line_round_trips(1).empty());
    EXPECT_TRUE(line_round_trips(0).empty());
    for (const int threads : {2, 3}) {
        const std::vector<double> trips = line_round_trips(threads);
        // A team may be smaller than asked for.
        EXPECT_LE(trips.size(), static_cast<std::size_t>(threads) - 1);
        for (const double seconds : trips) {
            EXPECT_GT(seconds, 1e-9);   // four cycles and more on any core
            EXPECT_LE(seconds, 10e-3);  // what it is after the time is up
        }
    }
}

TEST(Device, DescriptionSaysWhy) {
    EXPECT_FALSE(cuda_description().empty());
    EXPECT_EQ(cuda_description() == "not built in", !cuda_built());
}

}  // namespace
}  // namespace fastprop
