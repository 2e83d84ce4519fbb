// CRC-32C with SSE4.2's crc32 instruction. It takes 3 cycles and one can start each cycle, so three streams run side by
// side; PCLMULQDQ joins them. The file is compiled for any x86-64; the functions name the instructions they need.
#if defined(__x86_64__)
#include "clinux_crc32c.h"
#include <immintrin.h>
#include <string.h>

#define WITH_CRC __attribute__((target("sse4.2,pclmul")))

// Bytes of one stream between two joins, for long inputs and for the rest.
enum { long_stream = 4096, short_stream = 256 };
// x^(8n - 33) modulo the polynomial for n = one and two streams. The product of two reflected 32-bit operands is one bit
// short, and crc32 of 64 bits multiplies by x^32: hence the 33.
static const uint32_t past_one_long = 0x82F89C77, past_two_long = 0x54A86326;
static const uint32_t past_one_short = 0xB9E02B86, past_two_short = 0xDD7E3B0C;

int clinux_crc32c_has_hardware(void) {
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

static inline uint64_t word_at(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

// The state after `state`'s stream is followed by the zeros that `power` stands for.
WITH_CRC static inline uint32_t shifted(uint64_t state, uint32_t power) {
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)state), _mm_cvtsi32_si128((int)power), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

WITH_CRC static inline uint32_t three_streams(uint32_t state, const uint8_t *bytes, size_t stream, uint32_t past_one,
                                              uint32_t past_two) {
    uint64_t first = state, second = 0, third = 0;
    for (size_t at = 0; at < stream; at += 8) {
        first = _mm_crc32_u64(first, word_at(bytes + at));
        second = _mm_crc32_u64(second, word_at(bytes + stream + at));
        third = _mm_crc32_u64(third, word_at(bytes + 2 * stream + at));
    }
    return shifted(first, past_two) ^ shifted(second, past_one) ^ (uint32_t)third;
}

WITH_CRC uint32_t clinux_crc32c_hardware(uint32_t state, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    for (; count >= 3 * long_stream; count -= 3 * long_stream, next += 3 * long_stream)
        state = three_streams(state, next, long_stream, past_one_long, past_two_long);
    for (; count >= 3 * short_stream; count -= 3 * short_stream, next += 3 * short_stream)
        state = three_streams(state, next, short_stream, past_one_short, past_two_short);
    for (; count >= 8; count -= 8, next += 8) state = (uint32_t)_mm_crc32_u64(state, word_at(next));
    for (; count > 0; count--, next++) state = _mm_crc32_u8(state, *next);
    return state;
}
#endif
