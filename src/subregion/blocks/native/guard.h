/* Reading through a map of a file that somebody may cut meanwhile.
 *
 * To touch a page behind the end of its file raises SIGBUS, which ends the process. Between `sr_guard_enter` and
 * `sr_guard_leave` it does not, for this thread and this map: the rest of the map becomes zeros, the map is
 * spoiled for good, and whoever reads through it learns that at the end. Every other SIGBUS goes to the handler
 * that was there before. */
#ifndef SUBREGION_GUARD_H
#define SUBREGION_GUARD_H

#include <stdint.h>

typedef struct {
    uint8_t *base; /* NULL: not mapped */
    int64_t size;
    volatile int spoiled;
} sr_map;

/* Map a file that is open; returns 0 if that cannot be. */
int sr_map_open(sr_map *map, int descriptor, int64_t size);
void sr_map_close(sr_map *map);

/* Returns a number for `sr_guard_leave`, or -1 if this thread cannot be guarded: too many are, or others took the
 * signal over. */
int sr_guard_enter(sr_map *map);
void sr_guard_leave(int number);
/* For a child that was forked: threads that it has not are guarded no more. */
void sr_guard_forget_threads(void);

/* Read exactly so many bytes; returns 0 if the file ends before, or cannot be read. */
int sr_read(int descriptor, int64_t offset, int64_t count, uint8_t *out);
/* How many bytes a file has now; -1 if it cannot tell. */
int64_t sr_size(int descriptor);
/* Size, time of change, number, device and time of status of a path, times in nanoseconds; returns 0 if it cannot
 * tell. */
int sr_state(const char *path, int64_t *state);
/* Whether a byte of it would have to come from the disk. */
int sr_is_cold(int descriptor, int64_t offset);
/* Tell the disk that these bytes are wanted soon. */
void sr_announce(int descriptor, int64_t offset, int64_t count);

/* Numbers that several threads share. */
int64_t sr_next(volatile int64_t *number);
int64_t sr_add(volatile int64_t *number, int64_t count);

#endif
