/* SPDX-License-Identifier: MIT
 *
 * poller.c: what the built-in stepper waits with: poll(2) over the descriptors of many coroutines, and
 * their timers.
 *
 *   slot ──▶ one waiting coroutine: a descriptor (or none) and a time (or none)
 *
 *   fds    [ pollfd | pollfd | … ]          dense, so poll takes it as it is; owner[] gives the slot back
 *   heap   [ earliest | … ]                 a binary heap of the slots that have a time
 *   ready  [ slot, mode | … ]               what the last wait found, taken one by one by `next`
 *
 * A slot that became ready is forgotten here: nothing refers to a descriptor that nobody waits for,
 * because libpq closes and replaces its socket when it likes.  Memory grows to the most that waited
 * at once; a wake-up allocates nothing.
 */
#include "clock.h"
#include "number.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#define POLLER_MT "fastpg.poller"

typedef struct {
  int fd;   /* its place in fds, -1 for none */
  int heap; /* its place in heap, -1 for none */
  double time;
} slot;

typedef struct {
  int slot;
  int mode; /* 1 r, 2 w, 0 its time has come */
} found;

typedef struct {
  slot *slots;
  struct pollfd *fds;
  int *owner, *heap;
  found *ready;
  int capacity, nfds, nheap, nready, taken;
} poller;

/* ---- the heap ----------------------------------------------------------------------------- */

static void place(poller *p, int at, int s) {
  p->heap[at] = s;
  p->slots[s].heap = at;
}

static void sift_up(poller *p, int at, int s) {
  while (at > 0) {
    int parent = (at - 1) / 2;
    if (p->slots[p->heap[parent]].time <= p->slots[s].time) break;
    place(p, at, p->heap[parent]);
    at = parent;
  }
  place(p, at, s);
}

static void sift_down(poller *p, int at, int s) {
  for (;;) {
    int child = 2 * at + 1;
    if (child >= p->nheap) break;
    if (child + 1 < p->nheap &&
        p->slots[p->heap[child + 1]].time < p->slots[p->heap[child]].time)
      child++;
    if (p->slots[s].time <= p->slots[p->heap[child]].time) break;
    place(p, at, p->heap[child]);
    at = child;
  }
  place(p, at, s);
}

static void remove_time(poller *p, int s) {
  int at = p->slots[s].heap;
  if (at < 0) return;
  p->slots[s].heap = -1;
  int last = p->heap[--p->nheap];
  if (last == s) return;
  sift_down(p, at, last);
  sift_up(p, p->slots[last].heap, last);
}

/* ---- slots -------------------------------------------------------------------------------- */

static void remove_fd(poller *p, int s) {
  int at = p->slots[s].fd;
  if (at < 0) return;
  p->slots[s].fd = -1;
  p->nfds--;
  if (at == p->nfds) return;
  p->fds[at] = p->fds[p->nfds];
  p->owner[at] = p->owner[p->nfds];
  p->slots[p->owner[at]].fd = at;
}

static void forget(poller *p, int s) {
  remove_fd(p, s);
  remove_time(p, s);
}

static int resize(void **array, size_t item, int n) {
  void *more = realloc(*array, item * (size_t)n);
  if (more) *array = more;
  return more != NULL;
}

static void grow(lua_State *L, poller *p, int s) {
  if (s < p->capacity) return;
  int n = p->capacity ? p->capacity : 16;
  while (n <= s) n *= 2;
  if (!resize((void **)&p->slots, sizeof *p->slots, n) ||
      !resize((void **)&p->fds, sizeof *p->fds, n) ||
      !resize((void **)&p->owner, sizeof *p->owner, n) ||
      !resize((void **)&p->heap, sizeof *p->heap, n) ||
      !resize((void **)&p->ready, sizeof *p->ready, n))
    luaL_error(L, "not enough memory");
  for (int i = p->capacity; i < n; i++) p->slots[i] = (slot){-1, -1, 0};
  p->capacity = n;
}

static int check_slot(lua_State *L, int idx) {
  int64_t s;
  if (!fpg_to_int64(L, idx, &s) || s < 1 || s > 1 << 24) luaL_argerror(L, idx, "slot expected");
  return (int)s - 1;
}

/* ---- Lua ---------------------------------------------------------------------------------- */

static short events_of(const char *mode) {
  short events = 0;
  for (; *mode; mode++) events = (short)(events | (*mode == 'r' ? POLLIN : POLLOUT));
  return events;
}

/* p:watch(slot, fd or nil, mode or nil, seconds or nil): the slot waits from here on */
static int poller_watch(lua_State *L) {
  poller *p = luaL_checkudata(L, 1, POLLER_MT);
  int s = check_slot(L, 2);
  grow(L, p, s);
  forget(p, s);
  if (!lua_isnoneornil(L, 3)) {
    int64_t fd;
    if (!fpg_to_int64(L, 3, &fd)) luaL_argerror(L, 3, "file descriptor expected");
    short events = events_of(luaL_checkstring(L, 4));
    p->fds[p->nfds] = (struct pollfd){(int)fd, events, 0};
    p->owner[p->nfds] = s;
    p->slots[s].fd = p->nfds++;
  }
  if (!lua_isnoneornil(L, 5)) {
    p->slots[s].time = fpg_clock() + fpg_check_seconds(L, 5);
    sift_up(p, p->nheap++, s);
  }
  return 0;
}

/* p:forget(slot): it waits no more */
static int poller_forget(lua_State *L) {
  poller *p = luaL_checkudata(L, 1, POLLER_MT);
  int s = check_slot(L, 2);
  if (s < p->capacity) forget(p, s);
  for (int i = p->taken; i < p->nready; i++)
    if (p->ready[i].slot == s) p->ready[i].slot = -1;
  return 0;
}

/* Milliseconds for poll, rounded up: a timer must be over when it returns. */
static int poll_time(const poller *p, double limit, int forever) {
  if (p->nheap) {
    double left = p->slots[p->heap[0]].time - fpg_clock();
    if (forever || left < limit) limit = left;
    forever = 0;
  }
  if (forever) return -1;
  return fpg_milliseconds(limit);
}

static void found_ready(poller *p, int s, int mode) {
  p->ready[p->nready++] = (found){s, mode};
  forget(p, s);
}

static void collect_fds(poller *p, int n) {
  for (int i = p->nfds - 1; i >= 0 && n > 0; i--) { /* backwards: removing moves the last one */
    short got = p->fds[i].revents;
    if (!got) continue;
    n--;
    int mode = (got & (POLLIN | POLLHUP | POLLERR | POLLNVAL) ? 1 : 0) | (got & POLLOUT ? 2 : 0);
    found_ready(p, p->owner[i], mode);
  }
}

static void collect_times(poller *p) {
  if (!p->nheap) return;
  double t = fpg_clock();
  while (p->nheap && p->slots[p->heap[0]].time <= t) found_ready(p, p->heap[0], 0);
}

/* p:wait(seconds or nil) -> how many slots are ready: take them by p:next() before the next wait */
static int poller_wait(lua_State *L) {
  poller *p = luaL_checkudata(L, 1, POLLER_MT);
  int forever = lua_isnoneornil(L, 2);
  double limit = forever ? 0 : fpg_check_seconds(L, 2);
  p->nready = p->taken = 0;
  int time = poll_time(p, limit, forever);
  if (p->nfds || time) {
    int n = poll(p->fds, (nfds_t)p->nfds, time);
    if (n > 0) collect_fds(p, n);
  }
  collect_times(p);
  lua_pushinteger(L, p->nready);
  return 1;
}

/* p:next() -> slot, mode (nil: its time has come); nothing when all are taken */
static int poller_next(lua_State *L) {
  poller *p = luaL_checkudata(L, 1, POLLER_MT);
  while (p->taken < p->nready && p->ready[p->taken].slot < 0) p->taken++;
  if (p->taken >= p->nready) return 0;
  found f = p->ready[p->taken++];
  lua_pushinteger(L, f.slot + 1);
  switch (f.mode) {
    case 0: lua_pushnil(L); break;
    case 1: lua_pushliteral(L, "r"); break;
    case 2: lua_pushliteral(L, "w"); break;
    default: lua_pushliteral(L, "rw"); break;
  }
  return 2;
}

/* p:idle() -> true when neither a descriptor nor a time would end a wait */
static int poller_idle(lua_State *L) {
  const poller *p = luaL_checkudata(L, 1, POLLER_MT);
  lua_pushboolean(L, !p->nfds && !p->nheap);
  return 1;
}

static int poller_gc(lua_State *L) {
  poller *p = luaL_checkudata(L, 1, POLLER_MT);
  free(p->slots);
  free(p->fds);
  free(p->owner);
  free(p->heap);
  free(p->ready);
  memset(p, 0, sizeof *p);
  return 0;
}

/* core.poller() -> one that nobody waits in */
static int core_poller(lua_State *L) {
  poller *p = fpg_newuserdata(L, sizeof *p);
  memset(p, 0, sizeof *p);
  luaL_setmetatable(L, POLLER_MT);
  return 1;
}

/* core.is_yieldable() -> whether the calling coroutine may yield here; never on PUC Lua 5.1, which
 * can't tell */
static int core_is_yieldable(lua_State *L) {
  lua_pushboolean(L, fpg_isyieldable(L));
  return 1;
}

static const luaL_Reg methods[] = {
    {"watch", poller_watch}, {"forget", poller_forget}, {"wait", poller_wait},
    {"next", poller_next},   {"idle", poller_idle},     {"__gc", poller_gc},
    {NULL, NULL},
};

/* core.keep(value): for as long as the Lua state lives */
static int core_keep(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lua_pushboolean(L, 1);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return 0;
}

static const luaL_Reg core_functions[] = {
    {"keep", core_keep},
    {"poller", core_poller},
    {"is_yieldable", core_is_yieldable},
    {NULL, NULL},
};

void fpg_open_poller(lua_State *L) {
  luaL_newmetatable(L, POLLER_MT);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, POLLER_MT);
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
  luaL_setfuncs(L, core_functions, 0);
}
