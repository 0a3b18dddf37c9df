// A clock that the tests can move: offsets are read from a mapped file that FAULTS_CLOCK names,
// two 64-bit numbers of nanoseconds, for the wall clock and for the monotonic one.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offsets;

__attribute__((constructor)) static void open_offsets(void) {
  const char *path = getenv("FAULTS_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *map = mmap(0, 16, PROT_READ, MAP_SHARED, file, 0);
  if (map != MAP_FAILED) offsets = map;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  long result = syscall(SYS_clock_gettime, clock, time);
  if (result || !offsets) return (int)result;
  int64_t offset = 0;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) offset = offsets[0];
  if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME) offset = offsets[1];
  int64_t total = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + offset;
  time->tv_sec = total / 1000000000;
  time->tv_nsec = total % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *time, void *zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}
