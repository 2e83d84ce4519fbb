// What the kernel's FUSE protocol 7.40 has and the header of libfuse 3.14 lacks: passthrough, resending. Source: include/uapi/linux/fuse.h.
#pragma once
#include <stdint.h>

// fuse_in_header.opcode. Of these FORGET, BATCH_FORGET, INTERRUPT and NOTIFY_REPLY have no reply.
static const uint32_t clinux_fuse_forget = 2;
static const uint32_t clinux_fuse_open = 14;
static const uint32_t clinux_fuse_release = 18;
static const uint32_t clinux_fuse_init = 26;
static const uint32_t clinux_fuse_interrupt = 36;
static const uint32_t clinux_fuse_notify_reply = 41;
static const uint32_t clinux_fuse_batch_forget = 42;

// FUSE_NOTIFY_RESEND, Linux 6.9: fuse_out_header.error of a message with unique 0. The kernel then sends again what it has
// no reply to, with this bit set in fuse_in_header.unique, which the reply repeats.
static const int32_t clinux_fuse_notify_resend = 7;
static const uint64_t clinux_fuse_unique_resend = UINT64_C(1) << 63;

// fuse_init_in.flags and fuse_init_out.flags: the other 32 flags are in flags2.
static const uint32_t clinux_fuse_init_ext = UINT32_C(1) << 30;
static const uint32_t clinux_fuse_writeback_cache = UINT32_C(1) << 16;
static const uint32_t clinux_fuse_handle_killpriv_v2 = UINT32_C(1) << 28;
// FUSE_PASSTHROUGH, bit 37, in flags2.
static const uint32_t clinux_fuse_passthrough_high = UINT32_C(1) << 5;

// FUSE_HAS_RESEND, bit 39, in flags2.
static const uint32_t clinux_fuse_has_resend_high = UINT32_C(1) << 7;

// fuse_open_out.open_flags.
static const uint32_t clinux_fopen_noflush = UINT32_C(1) << 5;
static const uint32_t clinux_fopen_passthrough = UINT32_C(1) << 7;

// ioctl(2) on the open /dev/fuse, Linux 6.9. The first lets the kernel keep a file under a number, which it returns; the
// second ends that. -1 with errno: EPERM without CAP_SYS_ADMIN or when INIT did not agree on passthrough, ENOTTY or
// EOPNOTSUPP where the kernel has none, ELOOP for a file of a stacked filesystem, EINVAL for one that is not regular.
int clinux_fuse_backing_open(int device, int file);
int clinux_fuse_backing_close(int device, int backing);

// Lets a newly opened /dev/fuse take requests of a connection, too. What is read from it is answered on it, and what is
// read and not answered fails with ECONNABORTED when it is closed (fuse_dev_release), while the connection lives on.
int clinux_fuse_clone(int device, int connected);

// 0 when an open file cannot be opened once more with O_DIRECT because its filesystem has none; O_DIRECT is a GNU extension.
int clinux_can_read_directly(int file);
