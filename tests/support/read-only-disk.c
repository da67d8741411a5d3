/*
 * A disk that turns read-only while programs have files open on it, as a kernel does it after an error of the device: preloaded into a
 * process, every call that would change something below ARGOSY_TEST_DISK fails with EROFS as long as the file
 * ARGOSY_TEST_DISK_SWITCH exists. (mount -o remount,ro refuses while files are open for writing.)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_on(void) {
  const char *file = getenv("ARGOSY_TEST_DISK_SWITCH");
  int saved = errno;
  int on = file != NULL && access(file, F_OK) == 0;
  errno = saved;
  return on;
}

static int is_below(const char *path) {
  const char *disk = getenv("ARGOSY_TEST_DISK");
  size_t length = disk == NULL ? 0 : strlen(disk);
  return length > 0 && path != NULL && strncmp(path, disk, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int refuses_path(const char *path) {
  if (!is_below(path) || !is_on()) return 0;
  errno = EROFS;
  return 1;
}

static int refuses_fd(int fd) {
  char link[64], path[4096];
  if (getenv("ARGOSY_TEST_DISK") == NULL || !is_on()) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return refuses_path(path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define CHANGES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & (O_CREAT | O_TRUNC)) != 0)

#define OPEN(name)                                                                     \
  int name(const char *path, int flags, ...) {                                         \
    va_list rest;                                                                      \
    va_start(rest, flags);                                                             \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;     \
    va_end(rest);                                                                      \
    return CHANGES(flags) && refuses_path(path) ? -1 : NEXT(name)(path, flags, mode);  \
  }
#define OPENAT(name)                                                                         \
  int name(int folder, const char *path, int flags, ...) {                                   \
    va_list rest;                                                                            \
    va_start(rest, flags);                                                                   \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;           \
    va_end(rest);                                                                            \
    return CHANGES(flags) && refuses_path(path) ? -1 : NEXT(name)(folder, path, flags, mode); \
  }
#define BY_FD(type, name, parameters, ...) \
  type name parameters { return refuses_fd(fd) ? -1 : NEXT(name)(__VA_ARGS__); }
#define BY_PATH(name, parameters, ...) \
  int name parameters { return refuses_path(path) ? -1 : NEXT(name)(__VA_ARGS__); }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
BY_FD(ssize_t, write, (int fd, const void *data, size_t size), fd, data, size)
BY_FD(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), fd, data, size, at)
BY_FD(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), fd, data, size, at)
BY_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), fd, parts, count)
BY_FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at), fd, parts, count, at)
BY_FD(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at), fd, parts, count, at)
BY_FD(int, ftruncate, (int fd, off_t size), fd, size)
BY_FD(int, ftruncate64, (int fd, off64_t size), fd, size)
BY_PATH(rename, (const char *path, const char *to), path, to)
BY_PATH(link, (const char *path, const char *to), path, to)
BY_PATH(unlink, (const char *path), path)
BY_PATH(rmdir, (const char *path), path)
BY_PATH(mkdir, (const char *path, mode_t mode), path, mode)

int access(const char *path, int mode) {
  return (mode & W_OK) != 0 && refuses_path(path) ? -1 : NEXT(access)(path, mode);
}
