// CRC-32C with the CRC32 extension of ARMv8. Three streams hide the latency of the instruction.
#if defined(__aarch64__)
#include "clinux_crc32c.h"
#include <string.h>
#include <sys/auxv.h>

// From asm/hwcap.h of arm64, which a cross compiler may lack.
#define HAS_CRC32 (1UL << 7)

// Bytes of one stream between two joins. The join multiplies in software, so a round must be long enough to pay.
enum { stream = 8192 };
// x^(8 * stream) and x^(16 * stream) modulo the polynomial: what so many following bytes do to a state.
static const uint32_t past_one = 0x28461564;
static const uint32_t past_two = 0xBF455269;

int clinux_crc32c_has_hardware(void) { return (getauxval(AT_HWCAP) & HAS_CRC32) != 0; }

static uint64_t word_at(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

__attribute__((target("crc"))) uint32_t clinux_crc32c_hardware(uint32_t state, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    for (; count >= 3 * stream; count -= 3 * stream, next += 3 * stream) {
        uint32_t first = state, second = 0, third = 0;
        for (size_t at = 0; at < stream; at += 8) {
            first = __builtin_arm_crc32cd(first, word_at(next + at));
            second = __builtin_arm_crc32cd(second, word_at(next + stream + at));
            third = __builtin_arm_crc32cd(third, word_at(next + 2 * stream + at));
        }
        state = clinux_crc32c_multiply(past_two, first) ^ clinux_crc32c_multiply(past_one, second) ^ third;
    }
    for (; count >= 8; count -= 8, next += 8) state = __builtin_arm_crc32cd(state, word_at(next));
    for (; count > 0; count--, next++) state = __builtin_arm_crc32cb(state, *next);
    return state;
}
#endif
