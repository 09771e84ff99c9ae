/* Makes system calls fail, for the processes that load it by LD_PRELOAD.

   CHAOS_CALLS is a list like "flock:95:1000:*,fsync:5:30:/work/": name of the call, errno, how often of 1000, and
   what the path must hold (an asterisk: anything). Errno 0 makes read and write do only a part. "unlock" is flock
   to unlock. CHAOS_SEED is where the dice start. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define MOST 32
static struct { char call[16], part[200]; int error, often; } rules[MOST];
static int count = -1;
static _Atomic uint64_t dice;

static void load(void) {
    const char *text = getenv("CHAOS_CALLS"), *seed = getenv("CHAOS_SEED");
    int found = 0;
    dice = (seed ? strtoull(seed, NULL, 10) : 1) * 2654435761u + 88172645463325252u;
    while (text && *text && found < MOST) {
        if (sscanf(text, "%15[^:]:%d:%d:%199[^,]", rules[found].call, &rules[found].error, &rules[found].often,
                   rules[found].part) == 4) found++;
        text = strchr(text, ',');
        if (text) text++;
    }
    count = found;
}

/* Return the errno that this call is to fail with, -2 for a part, or -1 to let it pass. */
static int verdict(const char *call, const char *path, int descriptor) {
    char link[64], name[4096] = "";
    if (count < 0) load();
    for (int rule = 0; rule < count; rule++) {
        if (strcmp(rules[rule].call, call)) continue;
        if (strcmp(rules[rule].part, "*")) {
            if (!path) {
                if (!name[0]) {
                    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
                    ssize_t length = readlink(link, name, sizeof name - 1);
                    name[length > 0 ? length : 0] = 0;
                }
                if (!strstr(name, rules[rule].part)) continue;
            } else if (!strstr(path, rules[rule].part)) continue;
        }
        uint64_t value = dice;
        value ^= value << 13; value ^= value >> 7; value ^= value << 17;
        dice = value;
        if ((int)((value >> 20) % 1000) < rules[rule].often) return rules[rule].error ? rules[rule].error : -2;
    }
    return -1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL(call, path, descriptor, value) \
    { int why = verdict(call, path, descriptor); if (why > 0) { errno = why; return value; } }
#define PART(call, descriptor, size, value) \
    { int why = verdict(call, NULL, descriptor); if (why > 0) { errno = why; return value; } \
      if (why == -2 && size > 1) size /= 2; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list); \
        FAIL("open", path, -1, -1) return real(path, flags, mode); }
OPEN(open)
OPEN(open64)
#define OPENAT(name) \
    int name(int place, const char *path, int flags, ...) { \
        REAL(name); va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list); \
        FAIL("open", path, -1, -1) return real(place, path, flags, mode); }
OPENAT(openat)
OPENAT(openat64)

int flock(int descriptor, int operation) {
    REAL(flock);
    FAIL(operation & LOCK_UN ? "unlock" : "flock", NULL, descriptor, -1)
    return real(descriptor, operation);
}
int fsync(int descriptor) { REAL(fsync); FAIL("fsync", NULL, descriptor, -1) return real(descriptor); }
int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate); FAIL("ftruncate", NULL, descriptor, -1) return real(descriptor, size); }
int ftruncate64(int descriptor, off64_t size) {
    REAL(ftruncate64); FAIL("ftruncate", NULL, descriptor, -1) return real(descriptor, size); }
int posix_fallocate(int descriptor, off_t from, off_t size) {
    REAL(posix_fallocate); int why = verdict("fallocate", NULL, descriptor);
    return why > 0 ? why : real(descriptor, from, size); }
int posix_fallocate64(int descriptor, off64_t from, off64_t size) {
    REAL(posix_fallocate64); int why = verdict("fallocate", NULL, descriptor);
    return why > 0 ? why : real(descriptor, from, size); }
int rename(const char *from, const char *to) {
    REAL(rename); FAIL("rename", from, -1, -1) return real(from, to); }
int unlink(const char *path) { REAL(unlink); FAIL("unlink", path, -1, -1) return real(path); }
int rmdir(const char *path) { REAL(rmdir); FAIL("unlink", path, -1, -1) return real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); FAIL("mkdir", path, -1, -1) return real(path, mode); }
ssize_t read(int descriptor, void *data, size_t size) {
    REAL(read); PART("read", descriptor, size, -1) return real(descriptor, data, size); }
ssize_t pread(int descriptor, void *data, size_t size, off_t from) {
    REAL(pread); PART("read", descriptor, size, -1) return real(descriptor, data, size, from); }
ssize_t pread64(int descriptor, void *data, size_t size, off64_t from) {
    REAL(pread64); PART("read", descriptor, size, -1) return real(descriptor, data, size, from); }
ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(write); PART("write", descriptor, size, -1) return real(descriptor, data, size); }
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t from) {
    REAL(pwrite); PART("write", descriptor, size, -1) return real(descriptor, data, size, from); }
ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t from) {
    REAL(pwrite64); PART("write", descriptor, size, -1) return real(descriptor, data, size, from); }
