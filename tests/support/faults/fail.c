/* Lets fsync, fdatasync and syncfs fail with EIO as Linux does: once, and as if all were well after.

   LD_PRELOAD=this, FAULTS=control file, which may come and go while the process runs.  One line:

       CALL GLOB once|always keep|lose

   CALL is fsync, fdatasync, syncfs or any; GLOB is matched with the path of what is synced.  With
   `once` the control file is removed by the first call that fails, whatever process it is of.  With
   `lose` what was to be synced is lost, as the kernel drops pages that it could not write: the file
   is zeros from then on, with syncfs every file in tmp/ below.  Each failure is a line in FAULTS.log
   beside it: the call and the path. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void zero(int fd)
{
    struct stat found;
    if (fstat(fd, &found) || !S_ISREG(found.st_mode)) return;
    if (ftruncate(fd, 0) || ftruncate(fd, found.st_size)) abort();
}

static void zero_drafts(const char *path)
{
    char drafts[PATH_MAX + 8];
    snprintf(drafts, sizeof drafts, "%s/tmp", path);
    DIR *all = opendir(drafts);
    struct dirent *one;
    while (all && (one = readdir(all))) {
        int fd = openat(dirfd(all), one->d_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) { zero(fd); close(fd); }
    }
    if (all) closedir(all);
}

static void note(const char *control, const char *call, const char *path)
{
    char name[PATH_MAX + 8], line[PATH_MAX + 32];
    snprintf(name, sizeof name, "%s.log", control);
    int fd = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int n = snprintf(line, sizeof line, "%s %s\n", call, path);
    if (fd < 0 || write(fd, line, (size_t)n) != n) abort();
    close(fd);
}

/* Whether this call is to fail, with all that belongs to it done. */
static int fails(const char *call, int fd)
{
    const char *control = getenv("FAULTS");
    char wanted[16], glob[PATH_MAX], times[16], after[16], name[64], path[PATH_MAX], form[64];
    FILE *file = control ? fopen(control, "re") : NULL;
    if (!file) return 0;
    snprintf(form, sizeof form, "%%15s %%%ds %%15s %%15s", PATH_MAX - 1);
    int read = fscanf(file, form, wanted, glob, times, after);
    fclose(file);
    if (read != 4) return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    if ((strcmp(wanted, "any") && strcmp(wanted, call)) || fnmatch(glob, path, 0)) return 0;
    if (!strcmp(times, "once") && unlink(control)) return 0;
    if (!strcmp(after, "lose")) {
        if (strcmp(call, "syncfs")) zero(fd); else zero_drafts(path);
    }
    note(control, call, path);
    return 1;
}

static int answer(const char *call, int fd)
{
    int before = errno;
    if (fails(call, fd)) { errno = EIO; return -1; }
    errno = before;
    return ((int (*)(int))dlsym(RTLD_NEXT, call))(fd);
}

int fsync(int fd) { return answer("fsync", fd); }
int fdatasync(int fd) { return answer("fdatasync", fd); }
int syncfs(int fd) { return answer("syncfs", fd); }
