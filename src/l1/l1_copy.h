/* How a slot's words are read while a writer may be changing them (R2 in l1_read.h): two ways with the same result.
 *
 * On x86-64: 16 bytes at a time, by instructions that the C abstract machine does not see, because C11 has no atomic
 * load of that size. That is 11 loads for a slot's 23 words. At a million entries a lookup waits for memory, and fewer
 * loads leave room in the processor's queues for the next lookup's. It is right because x86 keeps loads in order (R1,
 * R2, R3), as it keeps the writer's stores. A load that is torn in the middle is found out by the version, just as two
 * words of different times are.
 *
 * Elsewhere, and under ThreadSanitizer: C11 acquire loads. */
#ifndef LK_L1_L1_COPY_H
#define LK_L1_L1_COPY_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define LK_L1_COPY_C11 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LK_L1_COPY_C11 1
#endif
#endif

#if defined(__x86_64__) && !defined(LK_L1_COPY_C11)

#include <emmintrin.h>

static inline __m128i lk_l1_pair(const _Atomic uint64_t *at)
{
    __m128i pair;
    struct two {
        uint64_t word[2];
    };
    __asm__ volatile("movdqu %1, %0" : "=x"(pair) : "m"(*(const struct two *)(const void *)(uintptr_t)at));
    return pair;
}

#define LK_L1_PAIR(i) _mm_storeu_si128((__m128i *)(void *)((char *)to + 8 * (i)), lk_l1_pair(from + (i)))

static inline void lk_l1_copy_entry(const _Atomic uint64_t from[15], void *to)
{
    LK_L1_PAIR(0), LK_L1_PAIR(2), LK_L1_PAIR(4), LK_L1_PAIR(6), LK_L1_PAIR(8), LK_L1_PAIR(10), LK_L1_PAIR(12);
    uint64_t last = atomic_load_explicit(&from[14], memory_order_acquire);
    memcpy((char *)to + 112, &last, sizeof last);
}

/* A conditional move. From a condition in C, a compiler may make a branch. */
static inline size_t lk_l1_if_equal(const _Atomic uint64_t *stored, uint64_t wanted, size_t then, size_t otherwise)
{
    __asm__("cmpq %2, %1\n\tcmoveq %3, %0"
            : "+r"(otherwise)
            : "m"(*(const uint64_t *)(const void *)(uintptr_t)stored), "r"(wanted), "r"(then)
            : "cc");
    return otherwise;
}

static inline uint64_t lk_l1_token_differs(const _Atomic uint64_t stored[5], const char *token)
{
    __m128i a = _mm_xor_si128(lk_l1_pair(stored), _mm_loadu_si128((const __m128i *)(const void *)token));
    __m128i b = _mm_xor_si128(lk_l1_pair(stored + 2), _mm_loadu_si128((const __m128i *)(const void *)(token + 16)));
    __m128i both = _mm_or_si128(a, b);
    uint64_t end;
    memcpy(&end, token + 32, sizeof end);
    end ^= atomic_load_explicit(&stored[4], memory_order_acquire);
    return (uint64_t)_mm_cvtsi128_si64(both) | (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(both, both)) | end;
}

#else

/* Each word goes straight to its place: through an array, gcc 12 fetches pairs of words before they are there. Written
 * out: gcc 12 leaves a loop of atomic loads rolled, which takes 8 to 14 ns. */
static inline void lk_l1_copy_word(const _Atomic uint64_t *from, char *to)
{
    uint64_t word = atomic_load_explicit(from, memory_order_acquire);
    memcpy(to, &word, sizeof word);
}
#define LK_L1_WORD(i) lk_l1_copy_word(from + (i), (char *)to + 8 * (i))

static inline void lk_l1_copy_entry(const _Atomic uint64_t from[15], void *to)
{
    LK_L1_WORD(0), LK_L1_WORD(1), LK_L1_WORD(2), LK_L1_WORD(3), LK_L1_WORD(4), LK_L1_WORD(5), LK_L1_WORD(6),
        LK_L1_WORD(7);
    LK_L1_WORD(8), LK_L1_WORD(9), LK_L1_WORD(10), LK_L1_WORD(11), LK_L1_WORD(12), LK_L1_WORD(13), LK_L1_WORD(14);
}

/* By a mask: from a condition, a compiler may make a branch. Relaxed: it only chooses a home, and a wrong choice is
 * found out by the comparison of the whole token. */
static inline size_t lk_l1_if_equal(const _Atomic uint64_t *stored, uint64_t wanted, size_t then, size_t otherwise)
{
    size_t mask = -(size_t)(atomic_load_explicit(stored, memory_order_relaxed) == wanted);
    return otherwise ^ ((otherwise ^ then) & mask);
}

static inline uint64_t lk_l1_word_differs(const _Atomic uint64_t *stored, const char *token)
{
    uint64_t word;
    memcpy(&word, token, sizeof word);
    return word ^ atomic_load_explicit(stored, memory_order_acquire);
}

static inline uint64_t lk_l1_token_differs(const _Atomic uint64_t stored[5], const char *token)
{
    return lk_l1_word_differs(stored, token) | lk_l1_word_differs(stored + 1, token + 8) |
           lk_l1_word_differs(stored + 2, token + 16) | lk_l1_word_differs(stored + 3, token + 24) |
           lk_l1_word_differs(stored + 4, token + 32);
}

#endif
#endif
