// Preloaded into a redis-server, it is two days later there. libfaketime and the server's allocator
// wait for each other at the start.
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, now, zone);
    now->tv_sec += 2 * 24 * 3600;
    return failed;
}
