/* SPDX-License-Identifier: Apache-2.0 */
/* Which of twenty cells a time falls into: 10 us, 20, 50, 100 .. 10 s, and what took longer.
 *
 * Limits are what an operator writes into a query ("up to 1 ms"), and grow by 2 or 2.5: between
 * one power of two and the next lies one of them at most. So the length of the number in bits
 * finds the cell but for one step; no time costs more than another. */
#ifndef HPROXY_CELLS_H
#define HPROXY_CELLS_H

#include <stdint.h>

#define HPROXY_CELLS 20

static const uint64_t hproxy_cell_limits[HPROXY_CELLS] = {
    10000ULL,       20000ULL,       50000ULL,       100000ULL,      200000ULL,
    500000ULL,      1000000ULL,     2000000ULL,     5000000ULL,     10000000ULL,
    20000000ULL,    50000000ULL,    100000000ULL,   200000000ULL,   500000000ULL,
    1000000000ULL,  2000000000ULL,  5000000000ULL,  10000000000ULL, UINT64_MAX,
};

/* By bits: the first cell whose limit is not below the least number so long. */
static const uint8_t hproxy_first_cell[65] = {
    0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  1,  2,  3,  4,  5,  6,  7,
    8,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 17, 18, 19, 19, 19, 19, 19, 19, 19, 19, 19,
    19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 19,
};

static inline int hproxy_cell_of(uint64_t ns) {
    int cell = hproxy_first_cell[64 - __builtin_clzll(ns | 1)];
    while (ns > hproxy_cell_limits[cell])
        cell++;
    return cell;
}

#endif
