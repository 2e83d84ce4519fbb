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
#include "clinux_fuse.h"

// Copies memory that does not overlap, in a loop whose speed does not depend on how the addresses lie; see copy.c.
void clinux_copy(void *restrict target, const void *restrict source, size_t count);

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

// pidfd_open(2), for which older C libraries have no name: a descriptor, closed on exec, that is readable once the
// process has ended; -1 with errno.
int clinux_pidfd_open(int process);

// copy_file_range(2) is a GNU extension. Offsets are positions in the files; no file offset moves.
long clinux_copy_file_range(int from, long from_offset, int to, long to_offset, size_t count);

// sync_file_range(2), a GNU extension: begins to write dirty pages of the range out. 0, or -1 with errno.
int clinux_begin_writing(int fd, long offset, long count);

// Open file description locks, fcntl(2): the whole file, exclusive or shared; owned by the open file, not the process,
// and gone when its last descriptor is closed. 0, or -1 with errno EAGAIN when another holds it.
int clinux_try_lock(int fd, int is_exclusive);
int clinux_unlock(int fd);

// The same for some bytes of the file; is_exclusive -1 unlocks them. Bytes need not exist.
int clinux_lock_range(int fd, int is_exclusive, long start, long count);

// getrandom(2), from a header that Swift's Glibc module does not include: bytes written, or -1 with errno.
long clinux_random(void *buffer, size_t count);

// SO_PEERCRED, whose struct is a GNU extension: the user of the process at the other end of a socket; -1 with errno.
long clinux_peer_user(int socket);

// getxattr(2), from a header that Swift's Glibc module does not include: bytes, or -1 with errno.
long clinux_get_attribute(const char *path, const char *name, void *value, size_t size);

// posix_spawn_file_actions_addchdir_np(3), a GNU extension; actions is a posix_spawn_file_actions_t. 0, or an error number.
int clinux_spawn_in_directory(void *actions, const char *directory);

// memfd_create(2) and mremap(2): GNU extensions; the second is variadic. Descriptors are close-on-exec.
int clinux_memfd_create(const char *name);
void *clinux_mremap(void *address, size_t old_size, size_t new_size);

// mount(2), umount2(2): behind headers that Swift's Glibc module does not include. They return 0, or -1 with errno.
int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options);
int clinux_unmount(const char *target, int is_detached);
unsigned long clinux_mount_flags_read_only(void);  // MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME
unsigned long clinux_mount_flags_writable(void);   // the same without MS_RDONLY

// statfs(2), whose struct Swift need not know: 0 when the filesystem at the path answers.
int clinux_filesystem_answers(const char *path);

// The CMSG macros: receives one descriptor over a socket; -1 with errno when none came.
int clinux_receive_descriptor(int socket);

// Messages over a socket of whole messages, with a descriptor or without (-1). The first returns 0, or -1 with errno; the
// second the message's size, 0 at the end, -1 with errno. A message that does not fit is cut (EMSGSIZE).
int clinux_send_message(int socket, const void *bytes, size_t count, int descriptor);
long clinux_receive_message(int socket, void *bytes, size_t capacity, int *descriptor);

// socketpair(2) of such sockets, both closed on exec; Swift's Glibc module has its constants as another type.
int clinux_message_sockets(int ends[2]);

// Makes each of the signals write its number, as one byte, to fd; the handler lives for the rest of the process.
// A C handler, because only async-signal-safe calls are allowed in it.
int clinux_signals_to_descriptor(int fd, const int *signals, int count);
