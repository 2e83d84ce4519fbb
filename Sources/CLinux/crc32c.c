#include "clinux_crc32c.h"
#include <pthread.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the kernels load little-endian words");

static const uint32_t polynomial = 0x82F63B78;

// tables[k][b]: what byte b does to the state when k more bytes follow it in the same word.
static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t state = byte;
        for (int bit = 0; bit < 8; bit++) state = (state >> 1) ^ (polynomial & (0u - (state & 1)));
        tables[0][byte] = state;
    }
    for (int k = 1; k < 8; k++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
        }
}

uint32_t clinux_crc32c_portable(uint32_t state, const void *bytes, size_t count) {
    pthread_once(&tables_once, make_tables);
    const uint8_t *next = bytes;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        word ^= state;
        state = tables[7][word & 0xFF] ^ tables[6][word >> 8 & 0xFF] ^ tables[5][word >> 16 & 0xFF] ^
                tables[4][word >> 24 & 0xFF] ^ tables[3][word >> 32 & 0xFF] ^ tables[2][word >> 40 & 0xFF] ^
                tables[1][word >> 48 & 0xFF] ^ tables[0][word >> 56];
    }
    for (; count > 0; count--, next++) state = (state >> 8) ^ tables[0][(state ^ *next) & 0xFF];
    return state;
}

uint32_t clinux_crc32c_multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (int bit = 0; bit < 32; bit++) {
        product ^= b & (0u - (a >> 31));
        a <<= 1;
        b = (b >> 1) ^ (polynomial & (0u - (b & 1)));
    }
    return product;
}

uint32_t clinux_crc32c(uint32_t state, const void *bytes, size_t count) {
    if (clinux_crc32c_has_hardware()) return clinux_crc32c_hardware(state, bytes, count);
    return clinux_crc32c_portable(state, bytes, count);
}

#if !defined(__x86_64__) && !defined(__aarch64__)
int clinux_crc32c_has_hardware(void) { return 0; }

uint32_t clinux_crc32c_hardware(uint32_t state, const void *bytes, size_t count) {
    return clinux_crc32c_portable(state, bytes, count);
}
#endif
