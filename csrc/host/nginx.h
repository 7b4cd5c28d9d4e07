/* SPDX-License-Identifier: MIT
 *
 * nginx.h: what fastpg knows of the nginx that this process is, if it is one.
 *
 *   nginx.c          requests: which one runs, when it ends; needs none of nginx's headers
 *   nginx_events.c   sockets in nginx's event loop; only where built with its headers (FPG_NGINX)
 *
 * This code is in every build and the process need not be nginx: symbols are looked up when they are
 * needed first.
 */
#ifndef FASTPG_NGINX_H
#define FASTPG_NGINX_H

#include "compat.h"

typedef struct ngx_http_request_s ngx_http_request_t;

typedef struct {
  const char *name;
  void *to; /* the pointer that gets the address */
} fpg_symbol;

/* Looks them up; NULL, or the name of the first that is not there. */
const char *fpg_nginx_find(const fpg_symbol *symbols, size_t n);

/* A request in which somebody waited or that holds a connection. */
typedef struct fpg_request {
  ngx_http_request_t *r;
  double id; /* no other has or had it */
  int held;  /* how many connections */
  void *owner, *waits;                 /* of nginx_events.c */
  void (*ended)(struct fpg_request *); /* likewise; called before it is freed */
  struct fpg_request *next_r, *next_id;
} fpg_request;

/* The request that the running light thread belongs to; NULL where it can't wait: not in a coroutine,
 * not in a phase that waits, or inside a C function.  Raises without memory. */
fpg_request *fpg_nginx_request(lua_State *L);
/* That alone; cheaper. */
int fpg_nginx_can_wait(lua_State *L);
/* The request with this id, NULL when it is over. */
fpg_request *fpg_nginx_request_of(double id);

/* can_wait, group, hold, release for a table. */
extern const luaL_Reg fpg_nginx_functions[];
int fpg_nginx_hold(lua_State *L);

#endif
