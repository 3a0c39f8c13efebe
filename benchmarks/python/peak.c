/* What the machine can do at best: multiply-adds in registers, and a + s * b over arrays.
 *
 * machine.py compiles this with -O3 -march=native -ffp-contract=fast and calls it from one Python
 * thread a CPU. Both functions return seconds.
 */
#include <stddef.h>
#include <time.h>

/* Floats in a register. A wider vector type than the registers would go through memory. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define CHAINS 12 /* hides the latency of two FMA units, and fits 16 registers with the factors */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

double fma_flops(long rounds) { return 2.0 * LANES * CHAINS * (double)rounds; }

double fma_seconds(long rounds, float* sink) {
    lanes sums[CHAINS];
    lanes half, one;
    for (int i = 0; i < LANES; ++i) {
        half[i] = 0.5f;
        one[i] = 1.0f;
    }
    for (int c = 0; c < CHAINS; ++c) sums[c] = one;
    const double start = seconds();
    for (long round = 0; round < rounds; ++round) {
        /* x = 0.5 x + 1 converges: no denormals, no infinity. */
        for (int c = 0; c < CHAINS; ++c) sums[c] = sums[c] * half + one;
    }
    const double took = seconds() - start;
    /* The sums are used, so none of them can be left out. */
    for (int c = 1; c < CHAINS; ++c) sums[0] += sums[c];
    for (int i = 0; i < LANES; ++i) sink[i] = sums[0][i];
    return took;
}

double stream_seconds(float* restrict y, const float* restrict a, const float* restrict b, size_t n,
                      long rounds) {
    const double start = seconds();
    for (long round = 0; round < rounds; ++round) {
        for (size_t i = 0; i < n; ++i) y[i] = a[i] + 3.0f * b[i];
        __asm__ volatile("" ::: "memory");
    }
    return seconds() - start;
}
