/* Moves the clock of the day, CLOCK_REALTIME, of a process and of all that it starts.

   LD_PRELOAD=this, with one of

       CLOCK_SHIFT=SECONDS  the same shift for good; the times of files move along
       CLOCK_FILE=PATH      a file with the seconds, looked at each time the clock is read, so that
                            the clock of a running process jumps; the times of files stay

   Seconds are whole, and negative for the past.  The clocks since boot run on untouched: waits,
   time-outs and sleeps take as long as ever. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Before any thread: as the library is loaded. */
static long fixed;
static const char *control;

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("CLOCK_SHIFT");
    if (text) fixed = atol(text);
    control = getenv("CLOCK_FILE");
}

static long moved(void)
{
    if (!control) return fixed;
    char text[24];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fixed;
    ssize_t size = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (size <= 0) return fixed;
    text[size] = 0;
    return fixed + atol(text);
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    if (syscall(SYS_clock_gettime, which, now)) return -1; /* errno is set */
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) now->tv_sec += moved();
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec found;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    now->tv_sec = found.tv_sec;
    now->tv_usec = found.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec found;
    if (clock_gettime(CLOCK_REALTIME, &found)) return -1;
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}

/* Files: read with the shift, written without it, so that what is made now is of now. */

#define READS(NAME, PARAMETERS, ...)                                                                \
    int NAME PARAMETERS                                                                            \
    {                                                                                              \
        static int (*real) PARAMETERS;                                                             \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #NAME);                                      \
        int result = real(__VA_ARGS__);                                                            \
        if (!result) {                                                                             \
            found->st_atim.tv_sec += fixed;                                                        \
            found->st_mtim.tv_sec += fixed;                                                        \
            found->st_ctim.tv_sec += fixed;                                                        \
        }                                                                                          \
        return result;                                                                             \
    }

READS(stat, (const char *restrict path, struct stat *restrict found), path, found)
READS(lstat, (const char *restrict path, struct stat *restrict found), path, found)
READS(fstat, (int fd, struct stat *found), fd, found)
READS(fstatat,
      (int fd, const char *restrict path, struct stat *restrict found, int flags),
      fd, path, found, flags)
READS(stat64, (const char *restrict path, struct stat64 *restrict found), path, found)
READS(lstat64, (const char *restrict path, struct stat64 *restrict found), path, found)
READS(fstat64, (int fd, struct stat64 *found), fd, found)
READS(fstatat64,
      (int fd, const char *restrict path, struct stat64 *restrict found, int flags),
      fd, path, found, flags)

static void put_back(struct timespec *at, struct timespec given)
{
    *at = given;
    if (given.tv_nsec != UTIME_NOW && given.tv_nsec != UTIME_OMIT) at->tv_sec -= fixed;
}

static int write_times(int fd, const char *path, const struct timespec times[2], int flags)
{
    struct timespec at[2];
    if (!times) return (int)syscall(SYS_utimensat, fd, path, NULL, flags);
    put_back(&at[0], times[0]);
    put_back(&at[1], times[1]);
    return (int)syscall(SYS_utimensat, fd, path, at, flags);
}

int utimensat(int fd, const char *path, const struct timespec times[2], int flags)
{
    return write_times(fd, path, times, flags);
}

int futimens(int fd, const struct timespec times[2])
{
    return write_times(fd, NULL, times, 0);
}
