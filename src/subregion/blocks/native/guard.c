#define _GNU_SOURCE
#include "guard.h"

#ifdef _WIN32
/* Files that are mapped cannot be cut there; they are read by position all the same. */
#include <intrin.h>
#include <io.h>
#include <windows.h>

int sr_map_open(sr_map *map, int descriptor, int64_t size)
{
    (void)map, (void)descriptor, (void)size;
    return 0;
}

void sr_map_close(sr_map *map)
{
    (void)map;
}

int sr_guard_enter(sr_map *map)
{
    (void)map;
    return -1;
}

void sr_guard_leave(int number)
{
    (void)number;
}

void sr_guard_forget_threads(void)
{
}

int sr_read(int descriptor, int64_t offset, int64_t count, uint8_t *out)
{
    HANDLE file = (HANDLE)_get_osfhandle(descriptor);
    while (count > 0) {
        OVERLAPPED place = {0};
        DWORD found = 0, wanted = count > (1 << 30) ? (1 << 30) : (DWORD)count;
        place.Offset = (DWORD)offset;
        place.OffsetHigh = (DWORD)(offset >> 32);
        if (!ReadFile(file, out, wanted, &found, &place) || !found)
            return 0;
        offset += found, out += found, count -= found;
    }
    return 1;
}

int64_t sr_size(int descriptor)
{
    LARGE_INTEGER size;
    return GetFileSizeEx((HANDLE)_get_osfhandle(descriptor), &size) ? size.QuadPart : -1;
}

int sr_state(const char *path, int64_t *state)
{
    (void)path, (void)state;
    return 0;
}

int sr_is_cold(int descriptor, int64_t offset)
{
    (void)descriptor, (void)offset;
    return 0;
}

void sr_announce(int descriptor, int64_t offset, int64_t count)
{
    (void)descriptor, (void)offset, (void)count;
}

int64_t sr_next(volatile int64_t *number)
{
    return _InterlockedIncrement64(number) - 1;
}

int64_t sr_add(volatile int64_t *number, int64_t count)
{
    return _InterlockedExchangeAdd64(number, count) + count;
}

#else
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Threads that read through maps at the same time, at most; others read by position. */
#define GUARDED 64

typedef struct {
    volatile int used;
    pthread_t thread;
    sr_map *volatile map;
} guard;

static guard guards[GUARDED];
static struct sigaction before;
static uintptr_t page_size;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void pass_on(int number, siginfo_t *info, void *context)
{
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
        return;
    }
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
        return;
    }
    if (before.sa_handler == SIG_IGN && info->si_code <= 0)
        return; /* sent, not raised: ignored as before, and ours stays */
    sigaction(number, &before, NULL); /* the same instruction raises it again, and now it ends the process */
    if (info->si_code <= 0)           /* unless somebody sent it */
        raise(number);
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    const int error = errno;
    const uintptr_t at = (uintptr_t)info->si_addr;
    for (int k = 0; info->si_code > 0 && k < GUARDED; k++) {
        sr_map *map = guards[k].used == 2 ? guards[k].map : NULL;
        if (!map || !pthread_equal(guards[k].thread, pthread_self()))
            continue;
        const uintptr_t base = (uintptr_t)map->base, stop = base + (uintptr_t)map->size;
        if (at < base || at >= stop)
            continue;
        map->spoiled = 1; /* before anybody can see zeros */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        const uintptr_t page = at & ~(page_size - 1);
        if (mmap((void *)page, stop - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
            break;
        errno = error;
        return;
    }
    pass_on(number, info, context);
}

static void install(void)
{
    struct sigaction ours = {0};
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    ours.sa_sigaction = on_bus_error;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&ours.sa_mask);
    sigaction(SIGBUS, &ours, &before);
}

/* Whether the handler is still ours: others may have put theirs in its place, as `faulthandler.enable` does. A look
 * takes as long as a small read, so there is one now and then. */
static int is_ours(void)
{
    static volatile int64_t looks;
    static volatile int ours = 1;
    if (sr_next(&looks) % 16 == 0) {
        struct sigaction now;
        ours = !sigaction(SIGBUS, NULL, &now) && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error;
    }
    return ours;
}

int sr_map_open(sr_map *map, int descriptor, int64_t size)
{
    pthread_once(&once, install);
    if ((uint64_t)size > PTRDIFF_MAX) /* more than there are addresses */
        return 0;
    void *base = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (base == MAP_FAILED)
        return 0;
    madvise(base, (size_t)size, MADV_RANDOM);
    map->size = size;
    __atomic_store_n(&map->base, base, __ATOMIC_RELEASE); /* last: by it others tell that there is a map */
    return 1;
}

void sr_map_close(sr_map *map)
{
    if (map->base)
        munmap(map->base, (size_t)map->size);
    map->base = NULL;
}

int sr_guard_enter(sr_map *map)
{
    if (!is_ours())
        return -1;
    for (int k = 0; k < GUARDED; k++) {
        int expected = 0;
        if (!guards[k].used && __atomic_compare_exchange_n(&guards[k].used, &expected, 1, 0, __ATOMIC_SEQ_CST,
                                                           __ATOMIC_SEQ_CST)) {
            guards[k].thread = pthread_self();
            guards[k].map = map;
            __atomic_store_n(&guards[k].used, 2, __ATOMIC_SEQ_CST);
            return k;
        }
    }
    return -1;
}

void sr_guard_leave(int number)
{
    if (number >= 0)
        __atomic_store_n(&guards[number].used, 0, __ATOMIC_SEQ_CST);
}

void sr_guard_forget_threads(void)
{
    for (int k = 0; k < GUARDED; k++) /* whoever forks reads nothing meanwhile */
        guards[k].used = 0;
}

int sr_read(int descriptor, int64_t offset, int64_t count, uint8_t *out)
{
    while (count > 0) { /* one call gives at most 2 GiB, and less whenever the system likes */
        const ssize_t found = pread(descriptor, out, (size_t)count, (off_t)offset);
        if (found < 0 && errno == EINTR)
            continue;
        if (found <= 0)
            return 0;
        offset += found, out += found, count -= found;
    }
    return 1;
}

int64_t sr_size(int descriptor)
{
    return (int64_t)lseek(descriptor, 0, SEEK_END);
}

int sr_state(const char *path, int64_t *state)
{
    struct stat found;
    if (stat(path, &found))
        return 0;
#ifdef __APPLE__
    const struct timespec changed = found.st_mtimespec, touched = found.st_ctimespec;
#else
    const struct timespec changed = found.st_mtim, touched = found.st_ctim;
#endif
    const int64_t most = INT64_MAX / 1000000000 - 1;
    if (changed.tv_sec > most || changed.tv_sec < -most || touched.tv_sec > most || touched.tv_sec < -most)
        return 0;
    state[0] = (int64_t)found.st_size;
    state[1] = (int64_t)changed.tv_sec * 1000000000 + changed.tv_nsec;
    state[2] = (int64_t)found.st_ino;
    state[3] = (int64_t)found.st_dev;
    state[4] = (int64_t)touched.tv_sec * 1000000000 + touched.tv_nsec;
    return 1;
}

int sr_is_cold(int descriptor, int64_t offset)
{
#ifdef RWF_NOWAIT
    char byte;
    struct iovec into = {&byte, 1};
    return preadv2(descriptor, &into, 1, (off_t)offset, RWF_NOWAIT) < 0 && errno == EAGAIN;
#else
    (void)descriptor, (void)offset;
    return 0;
#endif
}

void sr_announce(int descriptor, int64_t offset, int64_t count)
{
#ifdef POSIX_FADV_WILLNEED
    posix_fadvise(descriptor, (off_t)offset, (off_t)count, POSIX_FADV_WILLNEED);
#else
    (void)descriptor, (void)offset, (void)count;
#endif
}

int64_t sr_next(volatile int64_t *number)
{
    return __atomic_fetch_add(number, 1, __ATOMIC_RELAXED);
}

int64_t sr_add(volatile int64_t *number, int64_t count)
{
    return __atomic_add_fetch(number, count, __ATOMIC_RELAXED);
}
#endif
