// CRC-32C kernels. They work on the running state of the polynomial division, not on finished values: start with all
// ones, and invert the end. Source: RFC 3720, appendix B.4.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Slicing-by-8: any CPU.
uint32_t clinux_crc32c_portable(uint32_t state, const void *bytes, size_t count);

// Whether this CPU has CRC-32C instructions that clinux_crc32c_hardware uses.
int clinux_crc32c_has_hardware(void);

// Three interleaved streams of CRC instructions. Only where clinux_crc32c_has_hardware says so.
uint32_t clinux_crc32c_hardware(uint32_t state, const void *bytes, size_t count);

// The fastest that this CPU has.
uint32_t clinux_crc32c(uint32_t state, const void *bytes, size_t count);

// a * b modulo the polynomial; bit 31 is the coefficient of x^0.
uint32_t clinux_crc32c_multiply(uint32_t a, uint32_t b);
