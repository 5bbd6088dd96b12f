/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-1 and SHA-256 of short messages (FIPS 180-4), for password proofs of 20 to 72 bytes: one
 * or two blocks each, half a microsecond. hashlib costs as much again for every Python object.
 * Nothing here allocates or branches on the data.
 */
#ifndef HPROXY_SHA_H
#define HPROXY_SHA_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t sha_left(uint32_t x, int n) { return (x << n) | (x >> (32 - n)); }
static inline uint32_t sha_right(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

static inline uint32_t sha_load(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline void sha_store(unsigned char *p, uint32_t x) {
    p[0] = (unsigned char)(x >> 24);
    p[1] = (unsigned char)(x >> 16);
    p[2] = (unsigned char)(x >> 8);
    p[3] = (unsigned char)x;
}

static void sha1_block(uint32_t *h, const unsigned char *p) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++) w[i] = sha_load(p + 4 * i);
    for (int i = 16; i < 80; i++) w[i] = sha_left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5A827999u;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ED9EBA1u;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8F1BBCDCu;
        } else {
            f = b ^ c ^ d;
            k = 0xCA62C1D6u;
        }
        uint32_t t = sha_left(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = sha_left(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static const uint32_t SHA256_K[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
    0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
    0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
    0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
    0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
    0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
    0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
    0xc67178f2u,
};

static void sha256_block(uint32_t *h, const unsigned char *p) {
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++) w[i] = sha_load(p + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        x = sha_right(x, 7) ^ sha_right(x, 18) ^ (x >> 3);
        y = sha_right(y, 17) ^ sha_right(y, 19) ^ (y >> 10);
        w[i] = w[i - 16] + x + w[i - 7] + y;
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s = sha_right(v[4], 6) ^ sha_right(v[4], 11) ^ sha_right(v[4], 25);
        uint32_t t = v[7] + s + ((v[4] & v[5]) ^ (~v[4] & v[6])) + SHA256_K[i] + w[i];
        s = sha_right(v[0], 2) ^ sha_right(v[0], 13) ^ sha_right(v[0], 22);
        s += (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        v[7] = v[6];
        v[6] = v[5];
        v[5] = v[4];
        v[4] = v[3] + t;
        v[3] = v[2];
        v[2] = v[1];
        v[1] = v[0];
        v[0] = t + s;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
}

/* All blocks of a message, padding included; `words` of the state go to `out`. */
static void sha_run(void (*block)(uint32_t *, const unsigned char *), uint32_t *h, int words,
                    const unsigned char *data, size_t length, unsigned char *out) {
    unsigned char tail[128] = {0};
    size_t rest = length % 64, end = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)length * 8;
    for (size_t at = 0; at + 64 <= length; at += 64) block(h, data + at);
    if (rest) memcpy(tail, data + length - rest, rest);
    tail[rest] = 0x80;
    sha_store(tail + end - 8, (uint32_t)(bits >> 32));
    sha_store(tail + end - 4, (uint32_t)bits);
    for (size_t at = 0; at < end; at += 64) block(h, tail + at);
    for (int i = 0; i < words; i++) sha_store(out + 4 * i, h[i]);
}

/* `out` has room for 20 bytes. */
static inline void sha1_of(const unsigned char *data, size_t length, unsigned char *out) {
    uint32_t h[5] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u, 0xC3D2E1F0u};
    sha_run(sha1_block, h, 5, data, length, out);
}

/* `out` has room for 32 bytes. */
static inline void sha256_of(const unsigned char *data, size_t length, unsigned char *out) {
    uint32_t h[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                     0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    sha_run(sha256_block, h, 8, data, length, out);
}

#endif
