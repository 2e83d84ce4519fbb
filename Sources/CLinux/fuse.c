#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

// struct fuse_backing_map; flags and padding must be 0.
struct backing_map {
    int32_t file;
    uint32_t flags;
    uint64_t padding;
};

#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

int clinux_fuse_backing_open(int device, int file) {
    struct backing_map map = {.file = file, .flags = 0, .padding = 0};
    return ioctl(device, BACKING_OPEN, &map);
}

int clinux_fuse_backing_close(int device, int backing) {
    uint32_t number = (uint32_t)backing;
    return ioctl(device, BACKING_CLOSE, &number);
}

// The number is that of the descriptor to share the connection of: FUSE_DEV_IOC_CLONE, Linux 4.2.
#define DEVICE_CLONE _IOR(229, 0, uint32_t)

int clinux_fuse_clone(int device, int connected) {
    uint32_t number = (uint32_t)connected;
    return ioctl(device, DEVICE_CLONE, &number);
}

int clinux_can_read_directly(int file) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int again = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (again < 0) return errno != EINVAL;
    close(again);
    return 1;
}
