/* SPDX-License-Identifier: MIT
 *
 * lx.h: what every C file of the core needs from Lua: error objects, anchored buffers, integers
 * that keep their digits on every Lua.
 */
#ifndef FASTPG_LX_H
#define FASTPG_LX_H

#include "compat.h"

/* ---- errors ------------------------------------------------------------------------------- */

#define FPG_ERROR_MT "fastpg.Error"

/* Pushes a new error object { name =, message = }, with the sqlstate of a name that PostgreSQL has; the
 * message is formatted as by lua_pushfstring (%s %d %f %p %c %%). */
void fpg_push_error(lua_State *L, const char *name, const char *fmt, ...);

/* The SQLSTATE whose condition has that name ("division_by_zero"), or NULL. */
const char *fpg_sqlstate_of(const char *name);

/* Pushes where the user's code called into fastpg, "script.lua:12": the first Lua function on the
 * stack whose source does not begin with own_source of the error metatable; else nil. */
void fpg_push_where(lua_State *L);

/* Pushes as above, with that place in `where`, and raises.  Returns int so that a caller can say `return fpg_raise(...)`. */
int fpg_raise(lua_State *L, const char *name, const char *fmt, ...);

/* ---- what users call ----------------------------------------------------------------------- */

/* A method that users call, and the most arguments it takes beside self. */
typedef struct fpg_method {
  const char *name;
  lua_CFunction func;
  int most;
} fpg_method;

/* Adds the methods of a list that ends with a NULL name to the table on top of the stack.  A surplus
 * argument is an error, as everywhere in fastpg (lua/fastpg/base/surface.lua does the same for Lua's).  `owner`
 * says whose methods they are: within one fpg_method_owner gives it. */
void fpg_set_methods(lua_State *L, const fpg_method *list, int owner);
int fpg_method_owner(lua_State *L);

/* Raises for a name that the object at idx does not have, with the near ones of those that are keys of
 * the table at `known`.  (Which is near is Lua's to say: core.set_unknown_name.) */
int fpg_unknown_name(lua_State *L, const char *what, int key, int known);

/* ---- buffers ------------------------------------------------------------------------------ */

/* Bytes that grow, owned by a userdata on the Lua stack: a longjmp never leaks them.  Memory comes
 * from the state's own allocator, so a failing allocator reaches it. */
typedef struct fpg_buf {
  char *data;
  size_t len, cap;
} fpg_buf;

/* Pushes a userdata that owns an empty buffer. */
fpg_buf *fpg_buf_new(lua_State *L);

/* Room for n more bytes; returns where to write them and counts them as written. */
char *fpg_buf_grow(lua_State *L, fpg_buf *b, size_t n);

static inline void fpg_buf_put(lua_State *L, fpg_buf *b, const void *p, size_t n) {
  if (n) memcpy(fpg_buf_grow(L, b, n), p, n);
}
static inline void fpg_buf_putc(lua_State *L, fpg_buf *b, char c) {
  *fpg_buf_grow(L, b, 1) = c;
}
static inline void fpg_buf_puts(lua_State *L, fpg_buf *b, const char *s) {
  fpg_buf_put(L, b, s, strlen(s));
}
/* Decimal digits of v. */
void fpg_buf_putint(lua_State *L, fpg_buf *b, int64_t v);

/* Reads one piece of a composite's or a range's text from *at on into `word` (emptied first), without
 * its quotes and backslashes, up to a byte of `stops` outside of quotes or the end; *at stays there.
 * 0 where the piece is left out altogether, which is NULL or no bound ("" is the empty string). */
int fpg_buf_unquote(lua_State *L, fpg_buf *word, const char **at, const char *end, const char *stops);

/* Frees the bytes now instead of at collection. */
void fpg_buf_free(lua_State *L, fpg_buf *b);

/* ---- integers ----------------------------------------------------------------------------- */

/* Pushes v: an integer, or on a Lua without integers a number up to 2^53 and else its digits. */
void fpg_push_int64(lua_State *L, int64_t v);

/* The integer at idx: a Lua integer, a float with an integral value in range, or LuaJIT's int64
 * and uint64 cdata.  Strings are not converted.  False when it is none of these. */
int fpg_to_int64(lua_State *L, int idx, int64_t *out);

/* The bits of LuaJIT's int64 (-1 is returned) or uint64 (1) at idx; 0 when it is neither. */
int fpg_cdata_integer(lua_State *L, int idx, uint64_t *out);

/* Shortest text that reads back as the same double, written as PostgreSQL writes a float8 (or a
 * float4 when `single`): NaN, Infinity, -Infinity, 1e+30, -0.  buf holds at least 32 bytes; returns the length. */
size_t fpg_float_text(char *buf, double v, int single);

/* Wraps the name of the type of the value at idx for a message: "nil", "number 1.5" (numbers show
 * their value, nothing else does), "fastpg.date", "table".  Pushes the text and returns it. */
const char *fpg_describe(lua_State *L, int idx);

/* True when the bytes are UTF-8 as PostgreSQL takes it: no surrogates, no overlong forms, no NUL. */
int fpg_valid_utf8(const char *s, size_t len);

/* Adds to the methods, __index, of a metatable that is there already. */
void fpg_add_methods(lua_State *L, const char *metatable, const luaL_Reg *list);

/* Seconds of a clock that only goes forward. */
double fpg_clock(void);

/* The number of seconds at idx; NaN is refused. */
double fpg_check_seconds(lua_State *L, int idx);
/* Milliseconds as poll(2) takes them: rounded up, nothing below 0, no more than an int holds less one. */
int fpg_milliseconds(double seconds);

#endif
