// Clocks and a resolver that the tests can spoil. Three 64-bit numbers are read from a mapped file
// that FAULTS_SHIM names: nanoseconds added to the wall clock and to the monotonic one, and whether
// names fail to resolve.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *numbers;

__attribute__((constructor)) static void open_numbers(void) {
  const char *path = getenv("FAULTS_SHIM");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *map = mmap(0, 24, PROT_READ, MAP_SHARED, file, 0);
  if (map != MAP_FAILED) numbers = map;
  close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  long result = syscall(SYS_clock_gettime, clock, time);
  if (result || !numbers) return (int)result;
  int64_t offset = 0;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) offset = numbers[0];
  if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE || clock == CLOCK_BOOTTIME) offset = numbers[1];
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

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  if (numbers && numbers[2]) return EAI_AGAIN;
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  return real(name, service, hints, found);
}
