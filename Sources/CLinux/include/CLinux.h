// What the kernel and libc offer that Swift cannot reach by itself: variadic calls, macros, and CPU instructions.
// Each shim says why it exists. Every symbol is prefixed clinux_.
//
// The header includes no system header beyond stdint: with _GNU_SOURCE those would differ from the ones that Swift's
// Glibc module was built from, and the compiler refuses two definitions of one struct. The .c files include what they
// need.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "clinux_crc32c.h"

// openat(2), fcntl(2) and ioctl(2) are variadic.
int clinux_openat(int directory, const char *path, int flags, unsigned mode);
int clinux_fcntl(int fd, int command, long argument);
int clinux_fcntl_pointer(int fd, int command, void *argument);
int clinux_ioctl_pointer(int fd, unsigned long request, void *argument);

// A GNU extension that Swift's Glibc module does not declare. Names the calling thread (15 bytes are kept).
void clinux_name_this_thread(const char *name);

// The GNU strerror_r, which returns its text; the XSI one of the same name does not.
const char *clinux_error_text(int error, char *buffer, size_t length);

// pipe2(2) is a GNU extension that Swift's Glibc module does not declare: both ends closed on exec from the start.
int clinux_pipe(int ends[2]);
