/* SPDX-License-Identifier: MIT
 *
 * params.c: the arguments of one statement in one arena.
 *
 * Bytes go into c->buf one value after the other; since it may move while it grows, positions are
 * kept as offsets and turned into pointers at the end.  A Lua string that the server parses is not
 * copied: the caller's stack (or list) anchors it until it is sent.
 *
 *   argv:  [ const char *value × n ][ int length × n ][ int format × n ]
 */
#include "conn.h"

#define KEEP_BYTES (1 << 20) /* an arena that grew beyond this is given back after its statement */

static void check_count(lua_State *L, const fpg_stmt *st, int n) {
  if (n == st->nparams) return;
  fpg_raise(L, "invalid_argument", "too %s arguments: the statement takes %d, got %d",
            n < st->nparams ? "few" : "many", st->nparams, n);
}

fpg_args fpg_encode_args(lua_State *L, fpg_conn *c, const fpg_stmt *st, int list, int first,
                         int n) {
  check_count(L, st, n);
  if (c->buf->cap > KEEP_BYTES) fpg_buf_free(L, c->buf);
  c->buf->len = c->argv->len = 0;
  size_t count = (size_t)n;
  fpg_buf_grow(L, c->argv, count * (sizeof(char *) + 2 * sizeof(int)) + 1);
  const char **values = (const char **)(void *)c->argv->data;
  int *lengths = (int *)(void *)(values + n), *formats = lengths + n;
  const char *tz = PQparameterStatus(c->pg, "TimeZone");
  fpg_ctx cx = {.timezone = tz ? tz : "UTC", .types = st->types};
  luaL_checkstack(L, 8, "arguments");
  for (int i = 0; i < n; i++) {
    int idx = first + i;
    if (list) {
      lua_rawgeti(L, list, i + 1);
      idx = lua_gettop(L);
    }
    cx.param = i + 1;
    values[i] = NULL;
    lengths[i] = -1; /* NULL */
    formats[i] = FPG_TEXT;
    if (!fpg_is_null(L, idx)) {
      size_t at = c->buf->len, len = 0;
      const char *direct = NULL;
      formats[i] = fpg_encode_param(L, &cx, st->params[i], idx, c->buf, &direct, &len);
      if (!direct) len = c->buf->len - at;
      if (len > INT32_MAX) fpg_raise(L, "invalid_argument", "$%d: value over 2 GB", i + 1);
      if (!direct) fpg_buf_putc(L, c->buf, 0); /* libpq finds the end of a text value by strlen */
      values[i] = direct;
      lengths[i] = (int)len;
    }
    if (list) lua_pop(L, 1);
  }
  const char *p = c->buf->data;
  for (int i = 0; i < n; i++) {
    if (lengths[i] < 0 || values[i]) continue;
    values[i] = p;
    p += lengths[i] + 1;
  }
  for (int i = 0; i < n; i++)
    if (lengths[i] < 0) lengths[i] = 0;
  return (fpg_args){values, lengths, formats};
}
