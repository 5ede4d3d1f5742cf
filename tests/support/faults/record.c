/* Records, in one order over all processes, every call that changes files below given folders.

   LD_PRELOAD=this, RECORD_LOG=file, RECORD_UNDER=prefix[:prefix...] (absolute paths; every path
   that begins with one of them counts).  Each record is one append, which the kernel orders: a
   change is recorded after it was made, a sync twice, before it begins and after it has ended.
   So whatever stands before the first of these two was truly done by then, and was synced.
   tests/crash/recording.py reads the log; the layout is at `struct record`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 'o', WRITE = 'w', TRUNCATE = 't', RENAME = 'r', LINK = 'l', UNLINK = 'u',
       MKDIR = 'm', SYNC_BEGUN = 'b', SYNC_DONE = 'd', SYNC_FAILED = 'x' };

struct record {               /* little-endian, packed; then `first` and `second` octets */
    uint32_t length;          /* of the whole record */
    uint8_t kind;
    uint8_t how;              /* of a sync: 'f'sync, 'd'atasync, 's'yncfs */
    uint16_t first;           /* octets of a path */
    uint64_t inode;           /* of the file or folder */
    uint64_t number;          /* offset of a write, size of a truncation, ticket of a sync */
    uint32_t second;          /* octets of data or of a second path */
} __attribute__((packed));

#define FILES 65536
static atomic_uchar ours[FILES];  /* open descriptors below the folders */
static char *under, *log_path;
static int log_fd = -1;
static atomic_ulong tickets;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void)
{
    under = getenv("RECORD_UNDER");
    log_path = getenv("RECORD_LOG");
    if (!under || !log_path) return;
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, log_path,
                          O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log_fd < 0) abort();
    /* Out of the way of those who count descriptors. */
    int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 900);
    if (high >= 0) { syscall(SYS_close, log_fd); log_fd = high; }
}

static int counts(const char *path)
{
    if (log_fd < 0) return 0;
    for (const char *at = under; *at; ) {
        const char *end = strchrnul(at, ':');
        if (!strncmp(path, at, (size_t)(end - at))) return 1;
        at = *end ? end + 1 : end;
    }
    return 0;
}

static int mine(int fd) { return fd >= 0 && fd < FILES && atomic_load(&ours[fd]); }

/* The absolute path of what a call named, as far as that can be told without resolving links. */
static const char *whole(int folder, const char *path, char out[PATH_MAX])
{
    if (path[0] == '/') return path;
    char base[PATH_MAX], name[64];
    ssize_t n;
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return path;
    } else {
        snprintf(name, sizeof name, "/proc/self/fd/%d", folder);
        n = readlink(name, base, sizeof base - 1);
        if (n < 0) return path;
        base[n] = 0;
    }
    if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return path;
    return out;
}

static uint64_t inode(int fd)
{
    struct stat found;
    return fstat(fd, &found) ? 0 : (uint64_t)found.st_ino;
}

static void put(uint8_t kind, uint8_t how, uint64_t ino, uint64_t number, const char *first,
                const struct iovec *second, int parts)
{
    int before = errno;
    struct record head = {.kind = kind, .how = how, .inode = ino, .number = number,
                          .first = first ? (uint16_t)strlen(first) : 0};
    struct iovec all[18] = {{&head, sizeof head}, {(void *)first, head.first}};
    if (parts > 16) abort();
    for (int i = 0; i < parts; i++) {
        all[2 + i] = second[i];
        head.second += (uint32_t)second[i].iov_len;
    }
    head.length = (uint32_t)sizeof head + head.first + head.second;
    if (syscall(SYS_writev, log_fd, all, 2 + parts) != (long)head.length) abort();
    errno = before;
}

static void put_paths(uint8_t kind, int from, const char *old, int to, const char *new)
{
    char one[PATH_MAX], two[PATH_MAX];
    const char *first = whole(from, old, one), *second = new ? whole(to, new, two) : "";
    if (!counts(first) && !counts(second)) return;
    struct iovec part = {(void *)second, strlen(second)};
    put(kind, 0, 0, 0, first, &part, 1);
}

static int opened(int fd, int folder, const char *path, int flags)
{
    if (fd < 0 || log_fd < 0) return fd;
    char out[PATH_MAX];
    const char *full = whole(folder, path, out);
    int is_ours = counts(full);
    if (fd < FILES) atomic_store(&ours[fd], (unsigned char)is_ours);
    else if (is_ours) abort();
    if (is_ours && ((flags & (O_CREAT | O_TRUNC)) || (flags & O_ACCMODE) != O_RDONLY)) {
        put(OPEN, 0, inode(fd), 0, full, NULL, 0);
        if (flags & O_TRUNC) put(TRUNCATE, 0, inode(fd), 0, NULL, NULL, 0);
    }
    return fd;
}

#define MODE(flags, last) ({ mode_t m = 0; if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list a; \
    va_start(a, last); m = va_arg(a, mode_t); va_end(a); } m; })

int open(const char *path, int flags, ...)
{ mode_t m = MODE(flags, flags); return opened(REAL(open)(path, flags, m), AT_FDCWD, path, flags); }
int open64(const char *path, int flags, ...)
{ mode_t m = MODE(flags, flags); return opened(REAL(open64)(path, flags, m), AT_FDCWD, path, flags); }
int openat(int folder, const char *path, int flags, ...)
{ mode_t m = MODE(flags, flags); return opened(REAL(openat)(folder, path, flags, m), folder, path, flags); }
int openat64(int folder, const char *path, int flags, ...)
{ mode_t m = MODE(flags, flags); return opened(REAL(openat64)(folder, path, flags, m), folder, path, flags); }

int close(int fd)
{
    if (fd == log_fd && fd >= 0) { errno = EBADF; return -1; }
    if (fd >= 0 && fd < FILES) atomic_store(&ours[fd], 0);
    return REAL(close)(fd);
}

static ssize_t wrote(ssize_t n, int fd, off_t offset, const struct iovec *parts, int count)
{
    if (n <= 0 || !mine(fd)) return n;
    struct iovec done[16];
    size_t left = (size_t)n;
    int used = 0;
    for (; used < count && left; used++) {
        if (used == 16) abort();
        done[used] = parts[used];
        if (done[used].iov_len > left) done[used].iov_len = left;
        left -= done[used].iov_len;
    }
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - n;
    put(WRITE, 0, inode(fd), (uint64_t)offset, NULL, done, used);
    return n;
}

ssize_t write(int fd, const void *data, size_t size)
{ struct iovec v = {(void *)data, size}; return wrote(REAL(write)(fd, data, size), fd, -1, &v, 1); }
ssize_t writev(int fd, const struct iovec *v, int count)
{ return wrote(REAL(writev)(fd, v, count), fd, -1, v, count); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{ struct iovec v = {(void *)data, size}; return wrote(REAL(pwrite)(fd, data, size, at), fd, at, &v, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{ struct iovec v = {(void *)data, size}; return wrote(REAL(pwrite64)(fd, data, size, at), fd, at, &v, 1); }
ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{ return wrote(REAL(pwritev)(fd, v, count, at), fd, at, v, count); }
ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at)
{ return wrote(REAL(pwritev64)(fd, v, count, at), fd, at, v, count); }

static int cut(int result, int fd, uint64_t size)
{
    if (!result && mine(fd)) put(TRUNCATE, 0, inode(fd), size, NULL, NULL, 0);
    return result;
}
int ftruncate(int fd, off_t size) { return cut(REAL(ftruncate)(fd, size), fd, (uint64_t)size); }
int ftruncate64(int fd, off64_t size) { return cut(REAL(ftruncate64)(fd, size), fd, (uint64_t)size); }

/* It only makes a file longer, by zeros: for whoever reads it, a truncation to its new size. */
static int lengthened(int result, int fd)
{
    struct stat found;
    if (!result && mine(fd) && !fstat(fd, &found))
        put(TRUNCATE, 0, inode(fd), (uint64_t)found.st_size, NULL, NULL, 0);
    return result;
}
int posix_fallocate(int fd, off_t at, off_t size)
{ return lengthened(REAL(posix_fallocate)(fd, at, size), fd); }
int posix_fallocate64(int fd, off64_t at, off64_t size)
{ return lengthened(REAL(posix_fallocate64)(fd, at, size), fd); }

/* What would escape the record must not happen unnoticed. */
static void refuse(int fd) { if (mine(fd)) abort(); }
int fallocate(int fd, int mode, off_t at, off_t size)
{ refuse(fd); return REAL(fallocate)(fd, mode, at, size); }
int fallocate64(int fd, int mode, off64_t at, off64_t size)
{ refuse(fd); return REAL(fallocate64)(fd, mode, at, size); }
ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned flags)
{ refuse(to); return REAL(copy_file_range)(from, at, to, there, size, flags); }
ssize_t sendfile64(int to, int from, off64_t *at, size_t size)
{ refuse(to); return ((ssize_t (*)(int, int, off64_t *, size_t))real("sendfile64"))(to, from, at, size); }

static int named(int result, uint8_t kind, int from, const char *old, int to, const char *new)
{
    if (!result && log_fd >= 0) put_paths(kind, from, old, to, new);
    return result;
}
int rename(const char *old, const char *new)
{ return named(REAL(rename)(old, new), RENAME, AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int from, const char *old, int to, const char *new)
{ return named(REAL(renameat)(from, old, to, new), RENAME, from, old, to, new); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{ return named(REAL(renameat2)(from, old, to, new, flags), RENAME, from, old, to, new); }
int link(const char *old, const char *new)
{ return named(REAL(link)(old, new), LINK, AT_FDCWD, old, AT_FDCWD, new); }
int linkat(int from, const char *old, int to, const char *new, int flags)
{ return named(REAL(linkat)(from, old, to, new, flags), LINK, from, old, to, new); }
int unlink(const char *path)
{ return named(REAL(unlink)(path), UNLINK, AT_FDCWD, path, AT_FDCWD, NULL); }
int rmdir(const char *path)
{ return named(REAL(rmdir)(path), UNLINK, AT_FDCWD, path, AT_FDCWD, NULL); }
int unlinkat(int folder, const char *path, int flags)
{ return named(REAL(unlinkat)(folder, path, flags), UNLINK, folder, path, AT_FDCWD, NULL); }
int mkdir(const char *path, mode_t mode)
{ return named(REAL(mkdir)(path, mode), MKDIR, AT_FDCWD, path, AT_FDCWD, NULL); }
int mkdirat(int folder, const char *path, mode_t mode)
{ return named(REAL(mkdirat)(folder, path, mode), MKDIR, folder, path, AT_FDCWD, NULL); }

static int synced(int fd, uint8_t how, int (*call)(int))
{
    if (!mine(fd)) return call(fd);
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    uint64_t ticket = (uint64_t)getpid() << 32 | (uint32_t)atomic_fetch_add(&tickets, 1);
    uint64_t number = inode(fd);
    put(SYNC_BEGUN, how, number, ticket, path, NULL, 0);
    int result = call(fd);
    put(result ? SYNC_FAILED : SYNC_DONE, how, number, ticket, path, NULL, 0);
    return result;
}
int fsync(int fd) { return synced(fd, 'f', REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, 'd', REAL(fdatasync)); }
int syncfs(int fd) { return synced(fd, 's', REAL(syncfs)); }
