#define _GNU_SOURCE
#include "CLinux.h"
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

int clinux_openat(int directory, const char *path, int flags, unsigned mode) {
    return openat(directory, path, flags, (mode_t)mode);
}

int clinux_fcntl(int fd, int command, long argument) { return fcntl(fd, command, argument); }

int clinux_fcntl_pointer(int fd, int command, void *argument) { return fcntl(fd, command, argument); }

int clinux_ioctl_pointer(int fd, unsigned long request, void *argument) { return ioctl(fd, request, argument); }

void clinux_name_this_thread(const char *name) {
    char shown[16];
    strncpy(shown, name, sizeof shown - 1);
    shown[sizeof shown - 1] = 0;
    pthread_setname_np(pthread_self(), shown);
}

const char *clinux_error_text(int error, char *buffer, size_t length) { return strerror_r(error, buffer, length); }

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int clinux_pidfd_open(int process) { return (int)syscall(SYS_pidfd_open, process, 0); }

long clinux_copy_file_range(int from, long from_offset, int to, long to_offset, size_t count) {
    off64_t source = from_offset, target = to_offset;
    return copy_file_range(from, &source, to, &target, count, 0);
}

int clinux_begin_writing(int fd, long offset, long count) {
    return sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE);
}

static int set_lock(int fd, short type, long start, long count) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = count, .l_pid = 0};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int clinux_try_lock(int fd, int is_exclusive) { return set_lock(fd, is_exclusive ? F_WRLCK : F_RDLCK, 0, 0); }

int clinux_unlock(int fd) { return set_lock(fd, F_UNLCK, 0, 0); }

int clinux_lock_range(int fd, int is_exclusive, long start, long count) {
    return set_lock(fd, is_exclusive < 0 ? F_UNLCK : is_exclusive ? F_WRLCK : F_RDLCK, start, count);
}

long clinux_random(void *buffer, size_t count) { return getrandom(buffer, count, 0); }

long clinux_peer_user(int socket) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? (long)peer.uid : -1;
}

long clinux_get_attribute(const char *path, const char *name, void *value, size_t size) {
    return getxattr(path, name, value, size);
}
