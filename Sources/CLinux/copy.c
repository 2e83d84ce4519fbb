// A plain loop where memcpy would use `rep movsb`. Processors with the ERMS or FSRM feature are given that instruction by
// glibc for all but small copies, and some of them (Zen 4; glibc bug 30994) run it two to four times slower when source and
// destination lie less than a cache line apart modulo the page size: which is how page-aligned buffers and the memory
// that malloc hands out for large requests lie, 16 bytes behind a page's beginning.
#include "CLinux.h"
#include <string.h>

// The compiler must not recognise the loop and call memcpy after all.
#if defined(__clang__)
__attribute__((no_builtin("memcpy", "memmove")))
#endif
void clinux_copy(void *restrict target, const void *restrict source, size_t count) {
    enum { line = 64 };
    typedef uint64_t words __attribute__((vector_size(16), aligned(1), may_alias));
    unsigned char *to = target;
    const unsigned char *from = source;
    for (; count >= line; count -= line, to += line, from += line) {
        words first = ((const words *)from)[0], second = ((const words *)from)[1];
        words third = ((const words *)from)[2], fourth = ((const words *)from)[3];
        ((words *)to)[0] = first;
        ((words *)to)[1] = second;
        ((words *)to)[2] = third;
        ((words *)to)[3] = fourth;
    }
    for (; count > 0; count--) *to++ = *from++;
}
