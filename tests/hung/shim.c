/* Lets the calls of a process on files below hung/ wait as long as the file $HANG exists, like the calls on a network
 * share whose server is away. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void wait_for(const char *path) {
    const char *hang = getenv("HANG");
    if (hang && path && strstr(path, "hung/")) {
        while (access(hang, F_OK) == 0) usleep(20000);
    }
}

static void wait_for_open(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return;
    path[len] = 0;
    wait_for(path);
}

DIR *opendir(const char *path) {
    wait_for(path);
    return REAL(opendir)(path);
}

char *realpath(const char *path, char *into) {
    wait_for(path);
    return REAL(realpath)(path, into);
}

int inotify_add_watch(int fd, const char *path, unsigned mask) {
    wait_for(path);
    int (*real)(int, const char *, unsigned) = dlsym(RTLD_NEXT, "inotify_add_watch");
    return real(fd, path, mask);
}

int statx(int fd, const char *path, int flags, unsigned mask, struct statx *into) {
    char target[4096];
    ssize_t len = flags & AT_STATX_DONT_SYNC || strncmp(path, "/proc/", 6) ? -1 : readlink(path, target, sizeof target - 1);
    if (len > 0) target[len] = 0;
    if (len > 0) wait_for(target);
    else if (*path) wait_for(path);
    else wait_for_open(fd);
    return REAL(statx)(fd, path, flags, mask, into);
}

int open64(const char *path, int flags, ...) {
    wait_for(path);
    int (*real)(const char *, int, mode_t) = dlsym(RTLD_NEXT, "open64");
    __builtin_va_list rest;
    __builtin_va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? __builtin_va_arg(rest, mode_t) : 0;
    __builtin_va_end(rest);
    return real(path, flags, mode);
}

ssize_t read(int fd, void *into, size_t len) {
    wait_for_open(fd);
    return REAL(read)(fd, into, len);
}

ssize_t pread64(int fd, void *into, size_t len, off64_t offset) {
    wait_for_open(fd);
    return REAL(pread64)(fd, into, len, offset);
}
