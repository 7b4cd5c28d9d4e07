/* SPDX-License-Identifier: MIT
 *
 * gate.c: one descriptor that turns readable when another one is ready, when a time is over or when
 * somebody calls: for event loops that can only wait until *a* descriptor can be read.
 *
 *     the watched fd ─┐
 *     a timerfd ──────┼── an epoll descriptor (level-triggered) ── what the loop waits for
 *     an eventfd ─────┘
 *
 * A gate is armed for one wait and disarmed after it; then nothing refers to the watched fd, and the
 * gate can be used again.  (Or it sticks to it: gate_stick.)  Where the fd can't be taken out (it was closed meanwhile, and a child
 * process may still hold it open), the three descriptors are made anew; so they are in a forked
 * child, which would otherwise share the parent's.
 *
 * Linux only; elsewhere core.gate raises.
 */
#include "number.h"
#include "raise.h"

#ifdef __linux__

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define GATE_MT "fastpg.gate"
#define LONGEST 1e8 /* seconds; a wait may end early */

enum { WATCHED, TIMER, EVENT };

typedef struct {
  int epoll, timer, event; /* -1 when closed */
  int fd;                  /* the watched one, -1 for none */
  uint32_t wanted;         /* EPOLLIN, EPOLLOUT */
  int timed;               /* the timer runs */
  int woken;               /* the event was posted */
  pid_t owner;
} gate;

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void close_all(gate *g) {
  close_fd(&g->epoll);
  close_fd(&g->timer);
  close_fd(&g->event);
  g->fd = -1;
  g->timed = g->woken = 0;
}

/* 0, or -1 and errno. */
static int watch(gate *g, int fd, uint32_t events, uint32_t what) {
  struct epoll_event e = {.events = events, .data = {.u32 = what}};
  return epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &e);
}

static void open_all(lua_State *L, gate *g) {
  close_all(g);
  g->owner = getpid();
  g->epoll = epoll_create1(EPOLL_CLOEXEC);
  g->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  g->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (g->epoll < 0 || g->timer < 0 || g->event < 0 || watch(g, g->timer, EPOLLIN, TIMER) < 0 ||
      watch(g, g->event, EPOLLIN, EVENT) < 0) {
    int error = errno;
    close_all(g);
    fpg_raise(L, "resources", "no descriptors to wait with: %s", strerror(error));
  }
}

static gate *check_gate(lua_State *L) {
  gate *g = luaL_checkudata(L, 1, GATE_MT);
  if (g->epoll < 0) fpg_raise(L, "closed", "the gate is closed");
  return g;
}

static void set_timer(gate *g, double seconds) {
  struct itimerspec t;
  memset(&t, 0, sizeof t);
  if (seconds >= 0) {
    if (seconds > LONGEST) seconds = LONGEST;
    t.it_value.tv_sec = (time_t)seconds;
    t.it_value.tv_nsec = (long)((seconds - (double)t.it_value.tv_sec) * 1e9);
    if (t.it_value.tv_sec == 0 && t.it_value.tv_nsec == 0) t.it_value.tv_nsec = 1; /* 0 stops it */
  }
  timerfd_settime(g->timer, 0, &t, NULL);
  g->timed = seconds >= 0;
}

static void drain_event(gate *g) {
  uint64_t count;
  ssize_t ignored = read(g->event, &count, sizeof count);
  (void)ignored;
  g->woken = 0;
}

static void disarm(lua_State *L, gate *g) {
  if (g->owner != getpid()) return; /* arm sees to it */
  if (g->timed) set_timer(g, -1);
  if (g->woken) drain_event(g);
  if (g->fd < 0) return;
  int gone = epoll_ctl(g->epoll, EPOLL_CTL_DEL, g->fd, NULL) < 0;
  g->fd = -1;
  if (gone) open_all(L, g);
}

static uint32_t to_events(lua_State *L, int idx) {
  static const char *const names[] = {"r", "w", "rw", NULL};
  static const uint32_t events[] = {EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT};
  return events[luaL_checkoption(L, idx, NULL, names)];
}

/* g:arm(fd or nil, mode or nil, seconds or nil): begins a wait.  A negative or missing time never ends.
 * Raises "connection" where the descriptor can't be watched. */
static int gate_arm(lua_State *L) {
  gate *g = check_gate(L);
  int fd = lua_isnoneornil(L, 2) ? -1 : (int)luaL_checkinteger(L, 2);
  uint32_t wanted = fd >= 0 ? to_events(L, 3) : 0;
  double seconds = lua_isnoneornil(L, 4) ? -1 : fpg_check_seconds(L, 4);
  if (g->owner != getpid())
    open_all(L, g);
  else
    disarm(L, g);
  if (fd >= 0 && watch(g, fd, wanted, WATCHED) < 0)
    return fpg_raise(L, "connection", "descriptor %d can't be waited for: %s", fd, strerror(errno));
  g->fd = fd;
  g->wanted = wanted;
  if (seconds >= 0) set_timer(g, seconds);
  return 0;
}

static int gate_disarm(lua_State *L) {
  disarm(L, check_gate(L));
  return 0;
}

/* g:stick(fd, mode) -> true: begins a wait for what was watched before, or something else, with one call of the
 * system where it is the same: it stays known to the gate after the wait, but is silent until the next one.  False
 * where it can't be: the gate is to be closed, and another one taken.
 * Raises "connection" where the descriptor can't be watched. */
static int gate_stick(lua_State *L) {
  gate *g = check_gate(L);
  int fd = (int)luaL_checkinteger(L, 2);
  struct epoll_event e = {.events = to_events(L, 3) | EPOLLONESHOT, .data = {.u32 = WATCHED}};
  int usable = g->owner == getpid() && !g->timed && !g->woken &&
               (g->fd < 0 || g->fd == fd || epoll_ctl(g->epoll, EPOLL_CTL_DEL, g->fd, NULL) == 0);
  if (usable) {
    int known = g->fd == fd && epoll_ctl(g->epoll, EPOLL_CTL_MOD, fd, &e) == 0; /* else it is another file by now */
    if (!known && epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
      return fpg_raise(L, "connection", "descriptor %d can't be waited for: %s", fd, strerror(errno));
    g->fd = fd;
    g->wanted = e.events & ~(uint32_t)EPOLLONESHOT;
  }
  lua_pushboolean(L, usable);
  return 1;
}

/* g:unstick() -> whether what was watched is known to it no more; false: the gate is to be closed. */
static int gate_unstick(lua_State *L) {
  gate *g = check_gate(L);
  int gone = g->owner == getpid() && (g->fd < 0 || epoll_ctl(g->epoll, EPOLL_CTL_DEL, g->fd, NULL) == 0);
  g->fd = -1;
  lua_pushboolean(L, gone);
  return 1;
}

/* g:fd() -> the descriptor to wait for; it may be another one after each arm. */
static int gate_fd(lua_State *L) {
  lua_pushinteger(L, check_gate(L)->epoll);
  return 1;
}

/* g:wake(): the wait ends, now or as soon as it begins to be looked at. */
static int gate_wake(lua_State *L) {
  gate *g = check_gate(L);
  uint64_t one = 1;
  ssize_t ignored = write(g->event, &one, sizeof one);
  (void)ignored;
  g->woken = 1;
  return 0;
}

static const char *ready_mode(const gate *g, uint32_t events) {
  if (events & (EPOLLERR | EPOLLHUP)) events |= g->wanted;
  int r = (events & EPOLLIN) != 0, w = (events & EPOLLOUT) != 0;
  return r && w ? "rw" : r ? "r" : "w";
}

/* g:result() -> "r" / "w" / "rw": the descriptor is ready; "woken"; "timeout"; nil: nothing yet. */
static int gate_result(lua_State *L) {
  gate *g = check_gate(L);
  struct epoll_event e[3];
  int n = epoll_wait(g->epoll, e, 3, 0);
  const char *result = NULL;
  for (int i = 0; i < n; i++) {
    if (e[i].data.u32 == EVENT) {
      result = "woken";
      break;
    }
    if (e[i].data.u32 == WATCHED)
      result = ready_mode(g, e[i].events);
    else if (!result)
      result = "timeout";
  }
  lua_pushstring(L, result); /* NULL is nil */
  return 1;
}

/* g:close(): harmless when closed. */
static int gate_close(lua_State *L) {
  close_all(luaL_checkudata(L, 1, GATE_MT));
  return 0;
}

static int core_gate(lua_State *L) {
  gate *g = fpg_newuserdata(L, sizeof *g);
  memset(g, 0, sizeof *g);
  g->epoll = g->timer = g->event = g->fd = -1;
  luaL_setmetatable(L, GATE_MT);
  open_all(L, g);
  return 1;
}

static const luaL_Reg methods[] = {
    {"arm", gate_arm},       {"disarm", gate_disarm}, {"fd", gate_fd},       {"wake", gate_wake},
    {"stick", gate_stick},   {"unstick", gate_unstick},
    {"result", gate_result}, {"close", gate_close},   {"__gc", gate_close}, {NULL, NULL},
};

static void make_metatable(lua_State *L) {
  luaL_newmetatable(L, GATE_MT);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, GATE_MT);
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}

#else

static int core_gate(lua_State *L) {
  return fpg_raise(L, "feature_not_supported", "this event loop needs Linux (epoll, timerfd, eventfd)");
}

static void make_metatable(lua_State *L) {
  (void)L;
}

#endif

/* core.gate() -> a gate */
void fpg_open_gate(lua_State *L) {
  make_metatable(L);
  lua_pushcfunction(L, core_gate);
  lua_setfield(L, -2, "gate");
}
