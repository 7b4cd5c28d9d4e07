/* SPDX-License-Identifier: MIT
 *
 * notice.c: see notice.h.  In the queue a notice is what it is on the wire: fields, each a code and a string up to its
 * NUL, and a NUL behind the last.  Where there is no memory for one, or nobody fetches them, it is lost.
 *
 * PostgreSQL manual: "Notice Processing" of libpq, "Error and Notice Message Fields".
 */
#include "notice.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

enum { MOST = 1 << 20 }; /* bytes of notices that nobody has fetched yet */

static int make_room(fpg_conn *c, size_t more) {
  size_t need = c->notices_len + more;
  if (need > MOST) return 0;
  if (need <= c->notices_cap) return 1;
  char *p = realloc(c->notices, need * 2);
  if (!p) return 0;
  c->notices = p;
  c->notices_cap = need * 2;
  return 1;
}

void fpg_keep_notice(fpg_conn *c, const PGresult *res) {
  size_t size = 1;
  int code;
  if (!PQresultErrorField(res, PG_DIAG_SQLSTATE)) return; /* libpq's own: it is out of step */
  for (size_t i = 0; (code = fpg_diag_code(i)) != 0; i++) {
    const char *s = PQresultErrorField(res, code);
    if (s) size += strlen(s) + 2;
  }
  if (!make_room(c, size)) return;
  char *o = c->notices + c->notices_len;
  for (size_t i = 0; (code = fpg_diag_code(i)) != 0; i++) {
    const char *s = PQresultErrorField(res, code);
    if (!s) continue;
    *o++ = (char)code;
    size_t len = strlen(s) + 1;
    memcpy(o, s, len);
    o += len;
  }
  *o = 0;
  c->notices_len += size;
}

/* What waits for a standby at its commit and is canceled there succeeds, with a warning, whose text is in any language. */
void fpg_note_commit(fpg_conn *c, const PGresult *res) {
  const char *from = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);
  if (from && strcmp(from, "SyncRepWaitForLSN") == 0) c->events |= FPG_EVENT_ALONE;
}

/* conn:hear(on): keeps notices from here on, or no more */
static int conn_hear(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  c->hears = lua_toboolean(L, 2);
  if (!c->hears) c->notices_len = 0;
  return 0;
}

/* conn:notices() -> nil, or the list of those that are kept, each a table of fields; they are kept no more.  (A finalizer may
 * run meanwhile and bring more, so nothing is pointed at across a call of Lua's.) */
static int conn_notices(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  if (!c->notices_len) return 0;
  lua_pushlstring(L, c->notices, c->notices_len);
  c->notices_len = 0;
  size_t size;
  const char *p = lua_tolstring(L, -1, &size), *end = p + size;
  lua_newtable(L);
  for (int n = 1; p < end; n++, p++) {
    lua_newtable(L);
    while (*p) {
      const char *name = fpg_diag_name(*p++);
      lua_pushstring(L, p);
      p += strlen(p) + 1;
      lua_setfield(L, -2, name);
    }
    lua_rawseti(L, -2, n);
  }
  return 1;
}

static const luaL_Reg methods[] = {{"hear", conn_hear}, {"notices", conn_notices}, {NULL, NULL}};

void fpg_open_notice(lua_State *L) { fpg_add_conn_methods(L, methods); }
