/* See version.h. SHA-1 as in RFC 3174, by its method 1. */
#include "version.h"

#include <string.h>

enum { BLOCK = 64, LENGTH_AT = 56, ROUNDS = 80 };

static uint32_t turn(uint32_t x, int by) { return x << by | x >> (32 - by); }

static uint32_t mix(int round, uint32_t b, uint32_t c, uint32_t d)
{
    return round < 20   ? ((b & c) | (~b & d)) + 0x5a827999
           : round < 40 ? (b ^ c ^ d) + 0x6ed9eba1
           : round < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                        : (b ^ c ^ d) + 0xca62c1d6;
}

static void take_block(uint32_t h[5], const uint8_t *at)
{
    uint32_t w[ROUNDS], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++, at += 4)
        w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    for (int i = 16; i < ROUNDS; i++) w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t next = turn(a, 5) + mix(i, b, c, d) + e + w[i];
        e = d;
        d = c;
        c = turn(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

uint64_t lk_version(const void *data, size_t size)
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const uint8_t *at = data;
    uint8_t last[2 * BLOCK] = {0};
    size_t left = size % BLOCK, end = left < LENGTH_AT ? BLOCK : 2 * BLOCK;
    for (size_t i = 0; i + BLOCK <= size; i += BLOCK) take_block(h, at + i);
    if (left) memcpy(last, at + size - left, left);
    last[left] = 0x80;
    for (int i = 0; i < 8; i++) last[end - 1 - (size_t)i] = (uint8_t)((uint64_t)size * 8 >> (8 * i));
    for (size_t i = 0; i < end; i += BLOCK) take_block(h, last + i);
    uint64_t version = (uint64_t)h[0] << 32 | h[1];
    return version ? version : 1;
}
