// A FUSE server that throws away what is written to it: null_filesystem DIRECTORY, until SIGTERM.
//
// It is the limit of the write benchmark (bench_write.py): what the kernel, the protocol and one copy out of the writer's
// memory cost by themselves. Whatever a server does with the bytes comes on top of that. It is written in C over libfuse's
// low-level interface because a slower server would be a lower limit; it is not part of Penstock, and only the benchmark
// compiles it.
//
// It asks the kernel for the same as a writable mount of Penstock does (Sources/FUSEMount, FUSESession.negotiate): no
// write-back cache, so that each write(2) waits for its answer; requests of up to 1 MiB; several threads, each with a device
// of its own; no splicing; O_TRUNC with the open; caches kept. Penstock also agrees to FUSE_HANDLE_KILLPRIV_V2, which
// libfuse 3.14 does not know: otherwise the kernel would ask for security.capability before each write. Here it asks once,
// since no attributes are served.
//
// Names are not kept: files are made in the one directory, written, and closed. Nothing can be found again.

#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { maximum_nodes = 1 << 20 };
static const double for_long = 3600;
static atomic_ullong last_node = FUSE_ROOT_ID;
/// The kernel may ask how long a file is that was written to.
static atomic_llong sizes[maximum_nodes];

static struct stat status(fuse_ino_t node) {
    struct stat status = {.st_ino = node, .st_uid = getuid(), .st_gid = getgid(), .st_blksize = 1 << 20};
    status.st_mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
    status.st_nlink = node == FUSE_ROOT_ID ? 2 : 1;
    status.st_size = atomic_load(&sizes[node]);
    return status;
}

static void initialize(void *data, struct fuse_conn_info *connection) {
    (void)data;
    connection->max_background = 512;
    connection->congestion_threshold = 512 * 3 / 4;
    const unsigned unwanted = FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE
        | FUSE_CAP_WRITEBACK_CACHE;
    const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS
        | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_CACHE_SYMLINKS;
    connection->want = (connection->want & ~unwanted) | (connection->capable & wanted);
}

static void lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
    (void)parent, (void)name;
    fuse_reply_err(request, ENOENT);
}

static void get_attributes(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
    (void)file;
    const struct stat found = status(node);
    fuse_reply_attr(request, &found, for_long);
}

static void set_attributes(fuse_req_t request, fuse_ino_t node, struct stat *wanted, int which, struct fuse_file_info *file) {
    if (which & FUSE_SET_ATTR_SIZE) atomic_store(&sizes[node], wanted->st_size);
    get_attributes(request, node, file);
}

static void create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *file) {
    (void)parent, (void)name, (void)mode;
    const fuse_ino_t node = atomic_fetch_add(&last_node, 1) + 1;
    if (node >= maximum_nodes) {
        fuse_reply_err(request, ENOSPC);
        return;
    }
    struct fuse_entry_param entry = {.ino = node, .attr_timeout = for_long, .entry_timeout = for_long};
    entry.attr = status(node);
    file->keep_cache = 1;
    fuse_reply_create(request, &entry, file);
}

static void open_file(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
    (void)node;
    file->keep_cache = 1;
    fuse_reply_open(request, file);
}

static void write_bytes(
    fuse_req_t request, fuse_ino_t node, const char *bytes, size_t count, off_t offset, struct fuse_file_info *file
) {
    (void)bytes, (void)file;
    const long long end = offset + (long long)count;
    long long size = atomic_load(&sizes[node]);
    while (size < end && !atomic_compare_exchange_weak(&sizes[node], &size, end)) {}
    fuse_reply_write(request, count);
}

static void agree(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
    (void)node, (void)file;
    fuse_reply_err(request, 0);
}

static void synchronize(fuse_req_t request, fuse_ino_t node, int only_data, struct fuse_file_info *file) {
    (void)only_data;
    agree(request, node, file);
}

static void unlink_name(fuse_req_t request, fuse_ino_t parent, const char *name) {
    (void)parent, (void)name;
    fuse_reply_err(request, 0);
}

static const struct fuse_lowlevel_ops operations = {
    .init = initialize,
    .lookup = lookup,
    .getattr = get_attributes,
    .setattr = set_attributes,
    .create = create,
    .open = open_file,
    .write = write_bytes,
    .flush = agree,
    .release = agree,
    .fsync = synchronize,
    .unlink = unlink_name,
};

int main(int count, char **words) {
    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", words[0]);
        return 2;
    }
    char *options[] = {words[0], "-o", "default_permissions,fsname=null_filesystem", NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, options);
    struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (session == NULL || fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, words[1]) != 0) return 1;
    struct fuse_loop_config *configuration = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(configuration, 1);
    const int result = fuse_session_loop_mt(session, configuration);
    fuse_loop_cfg_destroy(configuration);
    fuse_session_unmount(session);
    fuse_remove_signal_handlers(session);
    fuse_session_destroy(session);
    return result < 0 ? 1 : 0;
}
