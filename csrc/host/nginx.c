/* SPDX-License-Identifier: MIT
 *
 * nginx.c: requests of nginx: which one the running light thread belongs to, and that it ended.  See
 * nginx.h.
 *
 * ngx_http_lua uses the coroutine of a request that ended for another one, and nginx its memory: only
 * an id tells requests apart.  A request that something waits in gets one here, and a handler that
 * nginx calls at its end, however that comes.
 *
 * Nothing of nginx's own types is known here but its record of a handler, the same since 2005.
 */
#include "nginx.h"

#include <dlfcn.h>
#include <stdlib.h>

typedef struct cleanup {
  void (*handler)(void *data);
  void *data;
  struct cleanup *next;
} cleanup;

static struct {
  ngx_http_request_t *(*request)(lua_State *L);
  int (*phase)(ngx_http_request_t *r, char **error);
  cleanup *(*cleanup_add)(ngx_http_request_t *r, size_t size);
} ng;

static const fpg_symbol symbols[] = {
    {"ngx_http_lua_get_request", &ng.request},
    {"ngx_http_lua_ffi_get_phase", &ng.phase},
    {"ngx_http_cleanup_add", &ng.cleanup_add},
};

const char *fpg_nginx_find(const fpg_symbol *list, size_t n) {
  for (size_t i = 0; i < n; i++) {
    void *p = dlsym(RTLD_DEFAULT, list[i].name);
    if (!p) return list[i].name;
    memcpy(list[i].to, &p, sizeof p);
  }
  return NULL;
}

/* ---- those that are known -------------------------------------------------------------------- */

/* Requests are the process's, whatever Lua state serves them; a worker of nginx has one thread. */
enum { LISTS = 256 };
static fpg_request *by_address[LISTS], *by_id[LISTS];
static double last_id;

static fpg_request **list_of_address(const ngx_http_request_t *r) {
  return &by_address[((uintptr_t)r >> 4) % LISTS];
}

static fpg_request **list_of_id(double id) { return &by_id[(uint64_t)id % LISTS]; }

static fpg_request *known(const ngx_http_request_t *r) {
  fpg_request *req = *list_of_address(r);
  while (req && req->r != r) req = req->next_r;
  return req;
}

fpg_request *fpg_nginx_request_of(double id) {
  if (!(id > 0 && id <= last_id)) return NULL;
  fpg_request *req = *list_of_id(id);
  while (req && req->id != id) req = req->next_id;
  return req;
}

static void request_end(void *data) {
  fpg_request *req = data, **p;
  if (req->ended) req->ended(req);
  for (p = list_of_address(req->r); *p != req; p = &(*p)->next_r) {}
  *p = req->next_r;
  for (p = list_of_id(req->id); *p != req; p = &(*p)->next_id) {}
  *p = req->next_id;
  free(req);
}

static fpg_request *meet(ngx_http_request_t *r) {
  fpg_request *req = calloc(1, sizeof *req);
  cleanup *cln = req ? ng.cleanup_add(r, 0) : NULL;
  if (!cln) {
    free(req);
    return NULL;
  }
  req->r = r;
  req->id = ++last_id;
  req->next_r = *list_of_address(r);
  *list_of_address(r) = req;
  req->next_id = *list_of_id(req->id);
  *list_of_id(req->id) = req;
  cln->handler = request_end;
  cln->data = req;
  return req;
}

/* ---- the running one ------------------------------------------------------------------------- */

/* The phases of ngx_http_lua in which a light thread can wait, as its get_phase numbers them: rewrite,
 * access, content, timer, ssl_cert, ssl_session_fetch, ssl_client_hello, server_rewrite. */
enum { WAITING_PHASES = 0x2 | 0x4 | 0x8 | 0x80 | 0x400 | 0x1000 | 0x4000 | 0x8000 };

/* NULL in a phase that can't wait: a request in its log phase has called its handlers already. */
static ngx_http_request_t *request_in_waiting_phase(lua_State *L) {
  char *error;
  ngx_http_request_t *r = ng.request(L);
  int phase = r ? ng.phase(r, &error) : -1;
  return phase >= 0 && phase & WAITING_PHASES ? r : NULL;
}

int fpg_nginx_can_wait(lua_State *L) {
  return fpg_isyieldable(L) && request_in_waiting_phase(L) != NULL;
}

static fpg_request *running(lua_State *L) {
  ngx_http_request_t *r = request_in_waiting_phase(L);
  if (!r) return NULL;
  fpg_request *req = known(r);
  if (!req) req = meet(r);
  if (!req) luaL_error(L, "not enough memory");
  return req;
}

fpg_request *fpg_nginx_request(lua_State *L) { return fpg_isyieldable(L) ? running(L) : NULL; }

/* ---- for Lua --------------------------------------------------------------------------------- */

/* can_wait() -> whether the running light thread can wait here */
static int nginx_can_wait(lua_State *L) {
  lua_pushboolean(L, fpg_nginx_can_wait(L));
  return 1;
}

static fpg_request *push_running(lua_State *L) {
  fpg_request *req = running(L);
  if (req)
    lua_pushnumber(L, (lua_Number)req->id);
  else
    lua_pushnil(L);
  return req;
}

/* group() -> the id of this request, or nil outside of requests */
static int nginx_group(lua_State *L) {
  push_running(L);
  return 1;
}

/* hold() -> the same, and this request holds one more connection */
int fpg_nginx_hold(lua_State *L) {
  fpg_request *req = push_running(L);
  if (req) req->held++;
  return 1;
}

/* release(id): it holds one less; nothing to do where the request is over */
static int nginx_release(lua_State *L) {
  fpg_request *req = fpg_nginx_request_of((double)lua_tonumber(L, 1));
  if (req && req->held > 0) req->held--;
  return 0;
}

/* is_lost(fd, id) -> whether that request is over */
static int nginx_is_lost(lua_State *L) {
  lua_pushboolean(L, !fpg_nginx_request_of((double)lua_tonumber(L, 2)));
  return 1;
}

const luaL_Reg fpg_nginx_functions[] = {
    {"can_wait", nginx_can_wait}, {"group", nginx_group},     {"hold", fpg_nginx_hold},
    {"release", nginx_release},   {"is_lost", nginx_is_lost}, {NULL, NULL},
};

/* core.nginx_requests() -> the functions above, or nil and why they can't be used here */
static int core_nginx_requests(lua_State *L) {
  const char *missing = fpg_nginx_find(symbols, sizeof symbols / sizeof symbols[0]);
  if (missing) {
    lua_pushnil(L);
    lua_pushfstring(L, "this process has no %s", missing);
    return 2;
  }
  lua_newtable(L);
  luaL_setfuncs(L, fpg_nginx_functions, 0);
  return 1;
}

void fpg_open_nginx(lua_State *L) {
  lua_pushcfunction(L, core_nginx_requests);
  lua_setfield(L, -2, "nginx_requests");
}
