/*
 * A clock that is wrong: preloaded into a process, the time of day is off by the milliseconds that the file ARGOSY_TEST_CLOCK holds (eight
 * bytes, read at every look, so that it can jump while the process runs). What only counts forward stays as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("ARGOSY_TEST_CLOCK");
  int fd = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) offset = page;
}

static int64_t off_ms(void) { return offset == NULL ? 0 : *offset; }

static void shift(struct timespec *time) {
  int64_t ms = off_ms();
  int64_t nanos = time->tv_nsec + (ms % 1000) * 1000000;
  time->tv_sec += ms / 1000 + (nanos < 0 ? -1 : nanos / 1000000000);
  time->tv_nsec = nanos < 0 ? nanos + 1000000000 : nanos % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  static int (*next)(clockid_t, struct timespec *);
  if (next == NULL) next = dlsym(RTLD_NEXT, "clock_gettime");
  int result = next(clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(time);
  return result;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  value->tv_sec = now.tv_sec;
  value->tv_usec = now.tv_nsec / 1000;
  return result;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result != NULL) *result = now.tv_sec;
  return now.tv_sec;
}
