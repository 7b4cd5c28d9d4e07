/* SPDX-License-Identifier: MIT
 *
 * nginx_events.c: libpq's sockets in nginx's own event loop.  See nginx.h, and
 * lua/fastpg/host/wait/nginx.lua.
 *
 * Lua's `wait` puts the socket into an ngx_connection_t, parks its light thread on a semaphore of
 * ngx_http_lua's and is resumed by a post to it:
 *
 *   park: attach ─▶ sema_wait, yield ···▶ event: detach, post ···▶ resumed ─▶ settle
 *                                    ···▶ time is over: resumed ─▶ settle: detach
 *                                    ···▶ killed: end of the request, or the collector: detach, lost
 *
 * Events are level-triggered and used once: whatever ends a wait takes the socket out of the loop, so
 * nothing spins, and nothing refers to a socket that libpq may close or change next.
 *
 * A light thread that is killed is never resumed.  Then the end of its request or the collector of
 * Lua (the wait's __gc) detaches, marks the socket as lost and has `notify` called from the event
 * loop, outside of every request.  The same happens when a request ends that holds a connection.
 *
 * nginx is used only where its version and binary signature are those of the headers.  Its symbols
 * must not be undefined in the .so, so nothing here may use nginx's macros that log.
 */
#include "nginx_events.h"

#include "clock.h"
#include "nginx.h"
#include "number.h"
#include "raise.h"

#ifndef FPG_NGINX

void fpg_nginx_closing(int fd) { (void)fd; }

/* core.nginx_events(notify) -> nil, why */
static int core_nginx_events(lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "fastpg was built without nginx's headers (make nginx builds it with them)");
  return 2;
}

#else

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include <dlfcn.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

/* ---- what nginx and ngx_http_lua export ---------------------------------------------------- */

typedef struct ngx_http_lua_sema_s sema;

static struct {
  ngx_module_t *lua_module;
  ngx_event_actions_t *actions;
  ngx_cycle_t *volatile *cycle;
  ngx_queue_t *posted, *posted_next;
  ngx_connection_t *(*get_connection)(ngx_socket_t fd, ngx_log_t *log);
  void (*free_connection)(ngx_connection_t *c);
  void (*process_posted)(ngx_cycle_t *cycle, ngx_queue_t *posted);
  void (*log_error)(ngx_uint_t level, ngx_log_t *log, ngx_err_t err, const char *fmt, ...);
  int (*sema_new)(sema **s, int n, char **error);
  int (*sema_post)(sema *s, int n);
  int (*sema_count)(sema *s);
  int (*sema_wait)(ngx_http_request_t *r, sema *s, int ms, u_char *error, size_t *len);
  void (*sema_gc)(sema *s);
  void (*set_exdata)(lua_State *L, void *data);
} ng;

static const fpg_symbol symbols[] = {
    {"ngx_http_lua_module", &ng.lua_module},
    {"ngx_event_actions", &ng.actions},
    {"ngx_cycle", &ng.cycle},
    {"ngx_posted_events", &ng.posted},
    {"ngx_posted_next_events", &ng.posted_next},
    {"ngx_get_connection", &ng.get_connection},
    {"ngx_free_connection", &ng.free_connection},
    {"ngx_event_process_posted", &ng.process_posted},
    {"ngx_log_error_core", &ng.log_error},
    {"ngx_http_lua_ffi_sema_new", &ng.sema_new},
    {"ngx_http_lua_ffi_sema_post", &ng.sema_post},
    {"ngx_http_lua_ffi_sema_count", &ng.sema_count},
    {"ngx_http_lua_ffi_sema_wait", &ng.sema_wait},
    {"ngx_http_lua_ffi_sema_gc", &ng.sema_gc},
    {"lua_setexdata", &ng.set_exdata},
};

/* NULL, or why nginx's event loop can't be used. */
static const char *find_nginx(void) {
  static char why[256];
  const char *missing = fpg_nginx_find(symbols, sizeof symbols / sizeof symbols[0]);
  if (missing) {
    snprintf(why, sizeof why, "this process has no %s", missing);
    return why;
  }
  const ngx_module_t *m = ng.lua_module; /* nginx has compared it with itself when it loaded it */
  if (m->version == nginx_version && strcmp(m->signature, NGX_MODULE_SIGNATURE) == 0) return NULL;
  snprintf(why, sizeof why, "this nginx is %d with the signature %s, fastpg was built for %d with %s",
           (int)m->version, m->signature, nginx_version, NGX_MODULE_SIGNATURE);
  return why;
}

static void post_event(ngx_event_t *ev, ngx_queue_t *list) {
  if (ev->posted) return;
  ev->posted = 1;
  ev->log = (*ng.cycle)->log; /* nginx's debug build logs what it takes out */
  ngx_queue_insert_tail(list, &ev->queue);
}

static void unpost_event(ngx_event_t *ev) {
  if (!ev->posted) return;
  ev->posted = 0;
  ngx_queue_remove(&ev->queue);
}

/* ---- one Lua state --------------------------------------------------------------------------- */

/* Calls `notify` from the event loop.  Upvalue of every function here. */
typedef struct {
  ngx_event_t event;
  lua_State *thread; /* where it runs; its stack holds the function */
  int closed;
} lua_vm;

static void vm_notify(ngx_event_t *ev) {
  lua_vm *vm = ev->data;
  lua_State *L = vm->thread;
  lua_pushvalue(L, 1);
  if (lua_pcall(L, 0, 0, 0)) {
    const char *text = lua_tostring(L, -1);
    ng.log_error(NGX_LOG_ERR, (*ng.cycle)->log, 0, "fastpg: %s", text ? text : "error");
  }
  lua_settop(L, 1);
}

static void notify(lua_vm *vm) {
  if (vm && !vm->closed) post_event(&vm->event, ng.posted);
}

static int vm_gc(lua_State *L) {
  lua_vm *vm = lua_touserdata(L, 1);
  unpost_event(&vm->event);
  vm->closed = 1;
  return 0;
}

/* ---- sockets --------------------------------------------------------------------------------- */

struct waiter;

/* Descriptors are the process's, whatever Lua state uses them; a worker of nginx has one thread. */
static struct {
  struct socket {
    struct waiter *wait, *told; /* who waits; whom the last event was told, until it was heard */
    int lost;
  } *at;
  int n;
} sockets;

static struct socket *socket_of(int fd) { return fd >= 0 && fd < sockets.n ? &sockets.at[fd] : NULL; }

/* False when there is no memory. */
static int has_room(int fd) {
  if (fd < sockets.n) return 1;
  int n = sockets.n ? sockets.n : 64;
  while (n <= fd) n *= 2;
  struct socket *at = realloc(sockets.at, (size_t)n * sizeof *at);
  if (!at) return 0;
  memset(at + sockets.n, 0, (size_t)(n - sockets.n) * sizeof *at);
  sockets.at = at;
  sockets.n = n;
  return 1;
}

/* ---- one wait ---------------------------------------------------------------------------------- */

#define WAIT_MT "fastpg.nginx.wait"

enum { READ = 1, WRITE = 2, WOKEN = 4, CLOSING = 8, PARKED = 16, LOST = 32 };

/* Each coroutine has one, used again and again. */
typedef struct waiter {
  lua_vm *vm;
  sema *sem;
  ngx_event_t soon;    /* posted while it waits for no time: others first, and what came for them */
  ngx_connection_t *c; /* as long as nginx watches the socket */
  fpg_request *req;    /* while parked: where it is in the list of the request's waits */
  struct waiter *prev, *next;
  int fd;
  int state; /* PARKED, or why not any more */
} waiter;

static void on_event(ngx_event_t *ev);

static ngx_int_t add_events(ngx_connection_t *c, int mode) {
  ngx_int_t rc = NGX_OK;
  if (mode & READ) rc = ng.actions->add(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT);
  if (rc == NGX_OK && mode & WRITE) rc = ng.actions->add(c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);
  return rc;
}

/* The socket stays open: it is libpq's. */
static void detach(waiter *w) {
  ngx_connection_t *c = w->c;
  if (!c) return;
  w->c = NULL;
  sockets.at[w->fd].wait = NULL;
  unpost_event(c->read);
  unpost_event(c->write);
  if (ng.actions->del_conn) {
    if (c->read->active || c->write->active) ng.actions->del_conn(c, 0);
  } else {
    if (c->read->active) ng.actions->del(c->read, NGX_READ_EVENT, 0);
    if (c->write->active) ng.actions->del(c->write, NGX_WRITE_EVENT, 0);
  }
  ng.free_connection(c);
  c->fd = (ngx_socket_t)-1;
}

/* False when nginx has no connection left for it, or no memory. */
static int attach(waiter *w, int fd, int mode, int idle) {
  if (!has_room(fd)) return 0;
  ngx_log_t *log = (*ng.cycle)->log;
  ngx_connection_t *c = ng.get_connection(fd, log);
  if (!c) return 0;
  c->data = w;
  c->idle = idle != 0;
  c->read->handler = c->write->handler = on_event;
  c->read->log = c->write->log = log;
  w->c = c;
  w->fd = fd;
  sockets.at[fd] = (struct socket){.wait = w};
  if (add_events(c, mode) == NGX_OK) return 1;
  detach(w);
  return 0;
}

static void enter(waiter *w, fpg_request *req) {
  w->state = PARKED;
  w->req = req;
  w->prev = NULL;
  w->next = req->waits;
  if (w->next) w->next->prev = w;
  req->waits = w;
}

static void leave(waiter *w, int why) {
  w->state = why;
  unpost_event(&w->soon);
  if (w->next) w->next->prev = w->prev;
  if (w->prev)
    w->prev->next = w->next;
  else
    w->req->waits = w->next;
  w->req = NULL;
}

/* Whether there was an event that it was told and has not heard of yet. */
static int take_told(const waiter *w) {
  struct socket *s = socket_of(w->fd);
  if (!s || s->told != w) return 0;
  s->told = NULL;
  return 1;
}

/* Its light thread is gone: nobody will read what comes on the socket. */
static void lose(waiter *w) {
  if (take_told(w)) sockets.at[w->fd].lost = 1;
  if (w->state != PARKED) return;
  if (w->c) sockets.at[w->fd].lost = 1;
  detach(w);
  leave(w, LOST);
  notify(w->vm);
}

/* A light thread that was killed left the semaphore's queue, and told nobody; a post that was on its
 * way to it stays there. */
static int is_killed(const waiter *w) {
  int count = ng.sema_count(w->sem);
  return w->state == PARKED ? count >= 0 : count > 0;
}

static void resume(waiter *w, int why) {
  if (is_killed(w)) lose(w);
  int watched = w->c != NULL;
  detach(w);
  if (w->state != PARKED) return;
  leave(w, why);
  if (watched) sockets.at[w->fd].told = w;
  ng.sema_post(w->sem, 1);
}

/* Also called when the worker is to end, with `close` set: for idle connections between two rounds of
 * the loop, when the next may be long in coming; later, with `error` too, for the others. */
static void on_event(ngx_event_t *ev) {
  ngx_connection_t *c = ev->data;
  int idle = c->close && !c->error;
  resume(c->data, c->close ? CLOSING : ev->write ? WRITE : READ);
  if (idle) ng.process_posted(*ng.cycle, ng.posted);
}

static void on_soon(ngx_event_t *ev) { resume(ev->data, 0); }

void fpg_nginx_closing(int fd) {
  struct socket *s = socket_of(fd);
  if (!s) return;
  if (s->wait) resume(s->wait, READ);
  s->told = NULL;
  s->lost = 0;
}

static int wait_gc(lua_State *L) {
  waiter *w = lua_touserdata(L, 1);
  if (!w->sem) return 0;
  lose(w);
  ng.sema_gc(w->sem);
  w->sem = NULL;
  return 0;
}

static void request_ended(fpg_request *req) {
  if (req->held || req->waits) notify(req->owner);
  while (req->waits) lose(req->waits);
}

/* ---- for Lua --------------------------------------------------------------------------------------- */

static lua_vm *vm_of(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* new() -> a waiter */
static int events_new(lua_State *L) {
  waiter *w = fpg_newuserdata(L, sizeof *w);
  memset(w, 0, sizeof *w);
  luaL_setmetatable(L, WAIT_MT);
  w->vm = vm_of(L);
  w->soon.data = w;
  w->soon.handler = on_soon;
  char *error = NULL;
  if (ng.sema_new(&w->sem, 0, &error) != NGX_OK) return luaL_error(L, "not enough memory");
  return 1;
}

static int check_mode(lua_State *L, int idx) {
  int mode = 0;
  for (const char *m = luaL_checkstring(L, idx); *m; m++) mode |= *m == 'r' ? READ : WRITE;
  return mode;
}

/* Milliseconds, rounded up; for ever is the longest that a timer takes, some weeks. */
static int check_timeout(lua_State *L, int idx) {
  if (lua_isnoneornil(L, idx)) return INT_MAX;
  return fpg_milliseconds(fpg_check_seconds(L, idx));
}

/* What poll(2) says now: READ and WRITE. */
static int poll_now(int fd, int mode) {
  struct pollfd p = {fd, (short)((mode & READ ? POLLIN : 0) | (mode & WRITE ? POLLOUT : 0)), 0};
  if (poll(&p, 1, 0) <= 0) return 0;
  return (p.revents & ~POLLOUT ? READ : 0) | (p.revents & POLLOUT ? WRITE : 0);
}

static int refuse(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/* Its end is told to this Lua state. */
static void take_over(lua_vm *vm, fpg_request *req) {
  req->owner = vm;
  req->ended = request_ended;
}

static void take_posts_back(waiter *w, fpg_request *req) {
  u_char error[128];
  size_t len = sizeof error;
  while (req && ng.sema_count(w->sem) > 0 && ng.sema_wait(req->r, w->sem, 0, error, &len) == NGX_OK) {}
}

/* park(wait, fd or nil, mode, seconds or nil, idle) yields until an event comes -> true or false
 * (then `settle` tells what it was); or nil and "place" where nobody can wait, "connections" when
 * nginx has none left.  idle: nginx need not wait for this one when the worker is to end. */
static int events_park(lua_State *L) {
  waiter *w = luaL_checkudata(L, 1, WAIT_MT);
  int fd = lua_isnil(L, 2) ? -1 : (int)luaL_checkinteger(L, 2);
  int mode = fd >= 0 ? check_mode(L, 3) : 0, ms = check_timeout(L, 4);
  fpg_request *req = fpg_nginx_request(L);
  if (!req) return refuse(L, "place");
  lose(w); /* a thread that is used again after it was killed */
  take_posts_back(w, req);
  take_over(w->vm, req);
  if (fd >= 0 && ms == 0) {
    w->state = poll_now(fd, mode);
    lua_pushboolean(L, 1);
    return 1;
  }
  if (fd >= 0 && !attach(w, fd, mode, lua_toboolean(L, 5))) return refuse(L, "connections");
  u_char error[128];
  size_t len = sizeof error;
  int rc = ng.sema_wait(req->r, w->sem, ms ? ms : INT_MAX, error, &len);
  if (rc != NGX_AGAIN) {
    detach(w);
    if (rc != NGX_OK) return refuse(L, "place");
    lua_pushboolean(L, 1);
    return 1;
  }
  enter(w, req);
  if (ms == 0) post_event(&w->soon, ng.posted_next);
  return lua_yield(L, 0);
}

/* settle(wait) -> the ready mode, "woken", or nil when the time was over; raises when the worker is
 * to end */
static int events_settle(lua_State *L) {
  waiter *w = luaL_checkudata(L, 1, WAIT_MT);
  int state = w->state;
  take_told(w);
  if (state == PARKED) {
    detach(w);
    leave(w, 0);
  } else {
    take_posts_back(w, fpg_nginx_request(L)); /* the time was over in the same round */
  }
  w->state = 0;
  switch (state) {
    case READ: lua_pushliteral(L, "r"); return 1;
    case WRITE: lua_pushliteral(L, "w"); return 1;
    case READ | WRITE: lua_pushliteral(L, "rw"); return 1;
    case WOKEN: lua_pushliteral(L, "woken"); return 1;
    case CLOSING: return fpg_raise(L, "closed", "this worker of nginx ends now");
    default: lua_pushnil(L); return 1;
  }
}

/* wake(wait): ends it soon */
static int events_wake(lua_State *L) {
  waiter *w = luaL_checkudata(L, 1, WAIT_MT);
  if (w->state == PARKED) resume(w, WOKEN);
  return 0;
}

/* is_gone(wait) -> whether the light thread was killed that waited so */
static int events_is_gone(lua_State *L) {
  const waiter *w = luaL_checkudata(L, 1, WAIT_MT);
  lua_pushboolean(L, w->state == LOST || is_killed(w));
  return 1;
}

/* hold() as in nginx.c */
static int events_hold(lua_State *L) {
  lua_pushcfunction(L, fpg_nginx_hold);
  lua_call(L, 0, 1);
  fpg_request *req = fpg_nginx_request_of((double)lua_tonumber(L, -1));
  if (req) take_over(vm_of(L), req);
  return 1;
}

/* is_lost(fd, id) -> true when whoever waited for this socket was killed, or that request is
 * over */
static int events_is_lost(lua_State *L) {
  const struct socket *s = socket_of((int)lua_tointeger(L, 1));
  int over = !fpg_nginx_request_of((double)lua_tonumber(L, 2));
  lua_pushboolean(L, over || (s && (s->lost || (s->wait && is_killed(s->wait)) || (s->told && is_killed(s->told)))));
  return 1;
}

static const luaL_Reg events_functions[] = {
    {"new", events_new},   {"park", events_park}, {"settle", events_settle},
    {"wake", events_wake}, {"hold", events_hold}, {"is_lost", events_is_lost},
    {"is_gone", events_is_gone}, {NULL, NULL},
};

/* Pushes a metatable with __gc, made once. */
static void push_metatable(lua_State *L, const char *name, lua_CFunction gc) {
  luaL_newmetatable(L, name);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
}

/* core.nginx_events(notify) -> the functions above and those of nginx.c, or nil and why they can't be used here.  notify
 * is called from the event loop, in no request, after something was lost; it can't wait. */
static int core_nginx_events(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  const char *why = find_nginx();
  if (why) return refuse(L, why);
  push_metatable(L, WAIT_MT, wait_gc);
  lua_createtable(L, 0, 12);
  luaL_setfuncs(L, fpg_nginx_functions, 0);
  lua_vm *vm = fpg_newuserdata(L, sizeof *vm);
  memset(vm, 0, sizeof *vm);
  push_metatable(L, "fastpg.nginx.vm", vm_gc);
  lua_setmetatable(L, -2);
  vm->event.data = vm;
  vm->event.handler = vm_notify;
  vm->thread = lua_newthread(L);
  ng.set_exdata(vm->thread, NULL);
  lua_pushvalue(L, 1);
  lua_xmove(L, vm->thread, 1);
  lua_createtable(L, 1, 0); /* anchors the thread */
  lua_insert(L, -2);
  lua_rawseti(L, -2, 1);
  fpg_setuservalue(L, -2);
  luaL_setfuncs(L, events_functions, 1);
  return 1;
}

#endif

void fpg_open_nginx_events(lua_State *L) {
  lua_pushcfunction(L, core_nginx_events);
  lua_setfield(L, -2, "nginx_events");
}
