/* A file system that has become read-only under a running process, as after an error of its disk.

   LD_PRELOAD=this, READONLY=control file, READONLY_UNDER=folder.  While the control file is there,
   whatever would change something below the folder fails with EROFS, through descriptors that were
   open before as well.  (A real remount is refused as long as a file is open for writing.) */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int on(void)
{
    const char *control = getenv("READONLY");
    int before = errno, there = control && !access(control, F_OK);
    errno = before;
    return there;
}

static int refused(const char *path)
{
    const char *under = getenv("READONLY_UNDER");
    if (!on() || !under || strncmp(path, under, strlen(under))) return 0;
    errno = EROFS;
    return 1;
}

static int refused_fd(int fd)
{
    char name[64], path[PATH_MAX];
    if (!on()) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return refused(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OPENING(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list all; \
        va_start(all, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(all, mode_t) : 0; \
        va_end(all); \
        if ((flags & O_ACCMODE) != O_RDONLY && refused(path)) return -1; \
        return REAL(name)(path, flags, mode); \
    }
OPENING(open)
OPENING(open64)

ssize_t write(int fd, const void *data, size_t size)
{ return refused_fd(fd) ? -1 : REAL(write)(fd, data, size); }
ssize_t writev(int fd, const struct iovec *parts, int count)
{ return refused_fd(fd) ? -1 : REAL(writev)(fd, parts, count); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{ return refused_fd(fd) ? -1 : REAL(pwrite64)(fd, data, size, at); }
int ftruncate64(int fd, off64_t size)
{ return refused_fd(fd) ? -1 : REAL(ftruncate64)(fd, size); }
int rename(const char *old, const char *new)
{ return refused(new) ? -1 : REAL(rename)(old, new); }
int mkdir(const char *path, mode_t mode)
{ return refused(path) ? -1 : REAL(mkdir)(path, mode); }
int unlink(const char *path)
{ return refused(path) ? -1 : REAL(unlink)(path); }
