#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

int clinux_spawn_in_directory(void *actions, const char *directory) {
    return posix_spawn_file_actions_addchdir_np(actions, directory);
}

int clinux_memfd_create(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

void *clinux_mremap(void *address, size_t old_size, size_t new_size) {
    return mremap(address, old_size, new_size, MREMAP_MAYMOVE);
}

int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options) {
    return mount(source, target, type, flags, options);
}

int clinux_unmount(const char *target, int is_detached) {
    return umount2(target, UMOUNT_NOFOLLOW | (is_detached ? MNT_DETACH : 0));
}

int clinux_filesystem_answers(const char *path) {
    struct statfs ignored;
    return statfs(path, &ignored);
}

unsigned long clinux_mount_flags_read_only(void) { return MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME; }

unsigned long clinux_mount_flags_writable(void) { return MS_NOSUID | MS_NODEV | MS_NOATIME; }

union descriptor_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static ssize_t receive(int socket, struct msghdr *message) {
    ssize_t count;
    do {
        count = recvmsg(socket, message, MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    return count;
}

/* -1 when the message brought none. */
static int descriptor_in(struct msghdr *message) {
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) return -1;
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

int clinux_receive_descriptor(int socket) {
    char byte;
    struct iovec piece = {.iov_base = &byte, .iov_len = 1};
    union descriptor_control control;
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t count = receive(socket, &message);
    if (count < 0) return -1;
    int fd = descriptor_in(&message);
    if (count == 0 || fd < 0) {
        errno = EPROTO;
        return -1;
    }
    return fd;
}

int clinux_message_sockets(int ends[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends); }

int clinux_send_message(int socket, const void *bytes, size_t count, int descriptor) {
    struct iovec piece = {.iov_base = (void *)bytes, .iov_len = count};
    union descriptor_control control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (descriptor >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof descriptor);
        memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    ssize_t sent;
    do {
        // Without a signal when nobody is there any more.
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -1 : 0;
}

long clinux_receive_message(int socket, void *bytes, size_t capacity, int *descriptor) {
    *descriptor = -1;
    struct iovec piece = {.iov_base = bytes, .iov_len = capacity};
    union descriptor_control control;
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t count = receive(socket, &message);
    if (count < 0) return -1;
    *descriptor = descriptor_in(&message);
    if (message.msg_flags & MSG_TRUNC) {
        if (*descriptor >= 0) close(*descriptor);
        *descriptor = -1;
        errno = EMSGSIZE;
        return -1;
    }
    return count;
}

static volatile int signal_descriptor = -1;

static void tell_descriptor(int signal) {
    int saved = errno;
    unsigned char byte = (unsigned char)signal;
    ssize_t ignored = write(signal_descriptor, &byte, 1);
    (void)ignored;
    errno = saved;
}

int clinux_signals_to_descriptor(int fd, const int *signals, int count) {
    signal_descriptor = fd;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = tell_descriptor;
    action.sa_flags = SA_RESTART;
    sigfillset(&action.sa_mask);
    for (int index = 0; index < count; index++) {
        if (sigaction(signals[index], &action, NULL) < 0) return -1;
    }
    return 0;
}
