/* SPDX-License-Identifier: MIT
 *
 * lx.c: error objects, anchored buffers, integers and floats on every Lua.  See lx.h.
 */
#include "lx.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "shortest.h"

#define BUF_MT "fastpg.buffer"

/* ---- errors ------------------------------------------------------------------------------- */

typedef struct {
  const char *code, *name;
} condition;

static const condition conditions[] = {
#define FPG_SQLSTATE(code, name) {code, name},
#define FPG_SQLCLASS(code, name)
#include "sqlstates.def"
#undef FPG_SQLSTATE
#undef FPG_SQLCLASS
};

/* Of a name that two classes have, the error's, never the warning's.  A protocol_violation of ours is a
 * value that can't be read, which says nothing of the connection: the server's own means that. */
const char *fpg_sqlstate_of(const char *name) {
  if (strcmp(name, "protocol_violation") == 0) return NULL;
  if (strcmp(name, "invalid_json") == 0) name = "invalid_text_representation";
  for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
    if (strncmp(conditions[i].code, "03", 2) >= 0 && strcmp(conditions[i].name, name) == 0)
      return conditions[i].code;
  return NULL;
}

static void push_verror(lua_State *L, const char *name, const char *fmt, va_list ap) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "name");
  lua_pushvfstring(L, fmt, ap);
  lua_setfield(L, -2, "message");
  const char *code = fpg_sqlstate_of(name);
  if (code) {
    lua_pushstring(L, code);
    lua_setfield(L, -2, "sqlstate");
  }
  luaL_setmetatable(L, FPG_ERROR_MT);
}

void fpg_push_error(lua_State *L, const char *name, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  push_verror(L, name, fmt, ap);
  va_end(ap);
}

void fpg_push_where(lua_State *L) {
  lua_Debug ar;
  luaL_getmetatable(L, FPG_ERROR_MT);
  lua_getfield(L, -1, "own_source");
  const char *own = lua_tostring(L, -1);
  size_t len = own ? strlen(own) : 0;
  int found = 0;
  for (int level = 0; !found && lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "Sl", &ar);
    found = ar.currentline > 0 && !(own && strncmp(ar.source, own, len) == 0);
  }
  if (found)
    lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
  else
    lua_pushnil(L);
  lua_insert(L, -3);
  lua_pop(L, 2);
}

int fpg_raise(lua_State *L, const char *name, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  push_verror(L, name, fmt, ap);
  va_end(ap);
  fpg_push_where(L);
  lua_setfield(L, -2, "where");
  return lua_error(L);
}

/* ---- what users call ----------------------------------------------------------------------- */

/* Upvalues: the function, its name, the most arguments it takes, how many of them are self, whose it is. */
static int limited_call(lua_State *L) {
  int most = (int)lua_tointeger(L, lua_upvalueindex(3));
  int n = lua_gettop(L);
  if (n <= most) return lua_tocfunction(L, lua_upvalueindex(1))(L);
  int self = (int)lua_tointeger(L, lua_upvalueindex(4));
  most -= self;
  return fpg_raise(L, "invalid_argument", "%s: takes %s%d argument%s, got %d",
                   lua_tostring(L, lua_upvalueindex(2)), most > 0 ? "at most " : "", most,
                   most == 1 ? "" : "s", n - self);
}

static void push_limited(lua_State *L, lua_CFunction func, const char *name, int most, int self,
                         int owner) {
  lua_pushcfunction(L, func);
  lua_pushstring(L, name);
  lua_pushinteger(L, most + self);
  lua_pushinteger(L, self);
  lua_pushinteger(L, owner);
  lua_pushcclosure(L, limited_call, 5);
}

int fpg_method_owner(lua_State *L) { return (int)lua_tointeger(L, lua_upvalueindex(5)); }

void fpg_set_methods(lua_State *L, const fpg_method *list, int owner) {
  for (; list->name; list++) {
    push_limited(L, list->func, list->name, list->most, 1, owner);
    lua_setfield(L, -2, list->name);
  }
}

static const char unknown_name_key = 0;

/* core.set_unknown_name(fn): fn(what, name, known) raises. */
static int core_set_unknown_name(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &unknown_name_key);
  return 0;
}

int fpg_unknown_name(lua_State *L, const char *what, int key, int known) {
  key = lua_absindex(L, key);
  known = lua_absindex(L, known);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &unknown_name_key);
  lua_pushstring(L, what);
  lua_pushvalue(L, key);
  lua_pushvalue(L, known);
  lua_call(L, 3, 0);
  return 0;
}

void fpg_open_surface(lua_State *L) {
  lua_pushcfunction(L, core_set_unknown_name);
  lua_setfield(L, -2, "set_unknown_name");
}

/* ---- buffers ------------------------------------------------------------------------------ */

void fpg_buf_free(lua_State *L, fpg_buf *b) {
  void *ud;
  lua_Alloc alloc = lua_getallocf(L, &ud);
  if (b->data) alloc(ud, b->data, b->cap, 0);
  b->data = NULL;
  b->len = b->cap = 0;
}

static int buf_gc(lua_State *L) {
  fpg_buf_free(L, lua_touserdata(L, 1));
  return 0;
}

fpg_buf *fpg_buf_new(lua_State *L) {
  fpg_buf *b = fpg_newuserdata(L, sizeof *b);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, BUF_MT);
  return b;
}

char *fpg_buf_grow(lua_State *L, fpg_buf *b, size_t n) {
  if (n > b->cap - b->len) {
    void *ud;
    lua_Alloc alloc = lua_getallocf(L, &ud);
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->len < n) {
      if (cap > SIZE_MAX / 2) fpg_raise(L, "out_of_memory", "value too large");
      cap *= 2;
    }
    char *data = alloc(ud, b->data, b->cap, cap);
    if (!data) luaL_error(L, "not enough memory");
    b->data = data;
    b->cap = cap;
  }
  char *at = b->data + b->len;
  b->len += n;
  return at;
}

static int is_stop(char c, const char *stops) { return c && strchr(stops, c); }

int fpg_buf_unquote(lua_State *L, fpg_buf *word, const char **at, const char *end,
                    const char *stops) {
  const char *p = *at;
  int quoted = 0, any = 0;
  word->len = 0;
  for (; p < end && (quoted || !is_stop(*p, stops)); p++) {
    any = 1;
    if (*p == '\\' && p + 1 < end) {
      fpg_buf_putc(L, word, *++p);
    } else if (*p != '"') {
      fpg_buf_putc(L, word, *p);
    } else if (quoted && p + 1 < end && p[1] == '"') {
      fpg_buf_putc(L, word, *p++);
    } else {
      quoted = !quoted;
    }
  }
  *at = p;
  return any;
}

void fpg_buf_putint(lua_State *L, fpg_buf *b, int64_t v) {
  char digits[24];
  int n = snprintf(digits, sizeof digits, "%lld", (long long)v);
  fpg_buf_put(L, b, digits, (size_t)n);
}

/* ---- numbers ------------------------------------------------------------------------------ */

#define EXACT_DOUBLE 9007199254740992LL /* 2^53 */

void fpg_push_int64(lua_State *L, int64_t v) {
#if FPG_HAS_INTEGER
  lua_pushinteger(L, (lua_Integer)v);
#else
  if (v >= -EXACT_DOUBLE && v <= EXACT_DOUBLE) {
    lua_pushnumber(L, (lua_Number)v);
  } else {
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)v);
    lua_pushlstring(L, digits, (size_t)n);
  }
#endif
}

/* LuaJIT's integers: what tells them is kept from the time of loading, since none of the user's code may
 * run while a value is looked at (a metatype's __tostring, a tostring of the program's own). */
static const char is_type_key = 0, cast_key = 0, int64_key = 0, uint64_key = 0;

static int is_cdata_of(lua_State *L, int idx, const char *type_key) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &is_type_key);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return 0;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, type_key);
  lua_pushvalue(L, idx);
  lua_call(L, 2, 1);
  int is = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return is;
}

int fpg_cdata_integer(lua_State *L, int idx, uint64_t *out) {
  idx = lua_absindex(L, idx);
  luaL_checkstack(L, 4, "integer");
  int sign = is_cdata_of(L, idx, &int64_key) ? -1 : is_cdata_of(L, idx, &uint64_key) ? 1 : 0;
  if (!sign) return 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &cast_key); /* a reference becomes what it refers to */
  lua_rawgetp(L, LUA_REGISTRYINDEX, &uint64_key);
  lua_pushvalue(L, idx);
  lua_call(L, 2, 1);
  memcpy(out, lua_topointer(L, -1), sizeof *out);
  lua_pop(L, 1);
  return sign;
}

static int cdata_to_int64(lua_State *L, int idx, int64_t *out) {
  uint64_t v;
  int sign = fpg_cdata_integer(L, idx, &v);
  if (!sign || (sign > 0 && v > INT64_MAX)) return 0;
  *out = (int64_t)v;
  return 1;
}

/* Keeps what LuaJIT's ffi gives; without it there is no cdata either. */
static void keep_ffi(lua_State *L) {
  static const char code[] =
      "local ok, ffi = pcall(require, 'ffi')\n"
      "if ok then return ffi.istype, ffi.cast, ffi.typeof 'int64_t', ffi.typeof 'uint64_t' end";
  if (strcmp(FPG_ABI, "luajit") != 0) return;
  if (luaL_loadbuffer(L, code, sizeof code - 1, "=fastpg")) lua_error(L);
  lua_call(L, 0, 4);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &uint64_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &int64_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &cast_key);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &is_type_key);
}

double fpg_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double fpg_check_seconds(lua_State *L, int idx) {
  double seconds = (double)luaL_checknumber(L, idx);
  if (isnan(seconds)) luaL_argerror(L, idx, "a number of seconds expected, got nan");
  return seconds;
}

int fpg_milliseconds(double seconds) {
  double ms = seconds * 1000;
  if (!(ms > 0)) return 0;
  return ms > INT_MAX - 1 ? INT_MAX - 1 : (int)ms + (ms > (int)ms);
}

int fpg_to_int64(lua_State *L, int idx, int64_t *out) {
  int t = lua_type(L, idx);
  if (t == FPG_TCDATA) return cdata_to_int64(L, idx, out);
  if (t != LUA_TNUMBER) return 0;
#if FPG_HAS_INTEGER
  if (lua_isinteger(L, idx)) {
    *out = (int64_t)lua_tointeger(L, idx);
    return 1;
  }
#endif
  double d = (double)lua_tonumber(L, idx);
  if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0) || d != floor(d)) return 0;
  *out = (int64_t)d;
  return 1;
}

/* Digits d.ddd * 10^exp as PostgreSQL lays them out: plain from 1e-4 to below 1e15 (1e6 for a
 * float4), else with an exponent of two digits at least. */
static size_t lay_out(char *out, const char *digits, int n, int exp, int limit) {
  char *p = out;
  if (exp < -4 || exp >= limit) {
    *p++ = digits[0];
    if (n > 1) *p++ = '.';
    memcpy(p, digits + 1, (size_t)n - 1);
    p += n - 1;
    return (size_t)(p - out) + (size_t)sprintf(p, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
  }
  if (exp < 0) {
    memcpy(p, "0.0000", (size_t)(1 - exp));
    p += 1 - exp;
  }
  for (int i = 0; i < n || i <= exp; i++) {
    if (exp >= 0 && i == exp + 1) *p++ = '.';
    *p++ = i < n ? digits[i] : '0';
  }
  return (size_t)(p - out);
}

size_t fpg_float_text(char *buf, double v, int single) {
  if (single) v = (double)(float)v;
  if (isnan(v)) return (size_t)sprintf(buf, "NaN");
  if (isinf(v)) return (size_t)sprintf(buf, v < 0 ? "-Infinity" : "Infinity");
  size_t sign = signbit(v) ? 1 : 0;
  if (sign) *buf++ = '-';
  if (v == 0) return sign + (size_t)sprintf(buf, "0");
  uint64_t m;
  int e;
  if (single)
    fpg_shortest_single((float)fabs(v), &m, &e);
  else
    fpg_shortest(fabs(v), &m, &e);
  char digits[24];
  int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)m);
  return sign + lay_out(buf, digits, n, e + n - 1, single ? 6 : 15);
}

/* core.float_text(number, single) -> its shortest text as the server's */
static int core_float_text(lua_State *L) {
  char text[40];
  size_t len = fpg_float_text(text, (double)luaL_checknumber(L, 1), lua_toboolean(L, 2));
  lua_pushlstring(L, text, len);
  return 1;
}

const char *fpg_describe(lua_State *L, int idx) {
  idx = lua_absindex(L, idx);
  int t = lua_type(L, idx);
  if (t == LUA_TNUMBER) {
#if FPG_HAS_INTEGER
    if (lua_isinteger(L, idx)) {
      char digits[24];
      snprintf(digits, sizeof digits, "%lld", (long long)lua_tointeger(L, idx));
      return lua_pushfstring(L, "number %s", digits);
    }
#endif
    char text[40];
    text[fpg_float_text(text, (double)lua_tonumber(L, idx), 0)] = 0;
    return lua_pushfstring(L, "number %s", text);
  }
  if (t == LUA_TLIGHTUSERDATA && !lua_touserdata(L, idx)) return lua_pushfstring(L, "fastpg.null");
  if (t == FPG_TCDATA) return lua_pushfstring(L, "cdata");
  if (lua_getmetatable(L, idx)) {
    lua_pushliteral(L, "__name");
    lua_rawget(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) {
      lua_remove(L, -2);
      return lua_tostring(L, -1);
    }
    lua_pop(L, 2);
  }
  return lua_pushfstring(L, "%s", lua_typename(L, t));
}

/* ---- text --------------------------------------------------------------------------------- */

int fpg_valid_utf8(const char *str, size_t len) {
  const unsigned char *s = (const unsigned char *)str, *end = s + len;
  while (s < end) {
    unsigned char c = *s++;
    if (c == 0) return 0;
    if (c < 0x80) continue;
    int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    if (c < 0xC2 || c > 0xF4 || end - s < more) return 0;
    if ((c == 0xE0 && s[0] < 0xA0) || (c == 0xED && s[0] > 0x9F) || (c == 0xF0 && s[0] < 0x90) ||
        (c == 0xF4 && s[0] > 0x8F))
      return 0;
    for (; more; more--)
      if ((*s++ & 0xC0) != 0x80) return 0;
  }
  return 1;
}

/* The length of the UTF-8 character at s, of at most n bytes, with its code point; 0: it is none. */
static size_t decode_utf8(const char *s, size_t n, uint32_t *cp) {
  unsigned char c = (unsigned char)*s;
  size_t len = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
  if (c == 0) {
    *cp = 0;
    return 1;
  }
  if (len > n || !fpg_valid_utf8(s, len)) return 0;
  *cp = len == 1 ? c : c & (0x7Fu >> len);
  for (size_t i = 1; i < len; i++) *cp = *cp << 6 | ((unsigned char)s[i] & 0x3F);
  return len;
}

/* Code points that act on what is around them or are not seen: the controls, the two separators and
 * Unicode's format characters, but for those that join letters and emoji. */
static int is_unsafe(uint32_t cp) {
  static const uint32_t ranges[][2] = {
      {0x00, 0x1F},       {0x7F, 0x9F},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
      {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x180E, 0x180E},
      {0x200B, 0x200B},   {0x200E, 0x200F},   {0x2028, 0x202E},   {0x2060, 0x206F},   {0xFEFF, 0xFEFF},
      {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD}, {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3},
      {0x1D173, 0x1D17A}, {0xE0001, 0xE007F},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
    if (cp >= ranges[i][0] && cp <= ranges[i][1]) return 1;
  return 0;
}

static void put_escaped(lua_State *L, fpg_buf *out, const char *s, size_t len, uint32_t cp) {
  char text[16];
  const char *named = cp == '\t' ? "\\t" : cp == '\n' ? "\\n" : cp == '\r' ? "\\r" : NULL;
  if (named) snprintf(text, sizeof text, "%s", named);
  else if (!len || cp < 0x80) snprintf(text, sizeof text, "\\x%02X", (unsigned)(unsigned char)*s);
  else snprintf(text, sizeof text, "\\u{%04X}", (unsigned)cp);
  fpg_buf_puts(L, out, text);
}

/* core.printable(text) -> the text on one line, safe on a terminal: what would act on it is escaped, as
 * \x1B or \u{202E}, and so are bytes that are no UTF-8 */
static int core_printable(lua_State *L) {
  size_t len;
  const char *s = luaL_checklstring(L, 1, &len), *end = s + len;
  fpg_buf *out = NULL;
  for (const char *p = s; p < end;) {
    uint32_t cp = 0;
    size_t n = decode_utf8(p, (size_t)(end - p), &cp);
    if (n && !is_unsafe(cp)) {
      if (out) fpg_buf_put(L, out, p, n);
    } else {
      if (!out) {
        out = fpg_buf_new(L);
        fpg_buf_put(L, out, s, (size_t)(p - s));
      }
      put_escaped(L, out, p, n, cp);
    }
    p += n ? n : 1;
  }
  if (out) lua_pushlstring(L, out->data, out->len);
  else lua_settop(L, 1);
  return 1;
}

void fpg_add_methods(lua_State *L, const char *metatable, const luaL_Reg *list) {
  luaL_getmetatable(L, metatable);
  lua_getfield(L, -1, "__index");
  luaL_setfuncs(L, list, 0);
  lua_pop(L, 2);
}

void fpg_open_lx(lua_State *L) {
  luaL_newmetatable(L, BUF_MT);
  lua_pushcfunction(L, buf_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newmetatable(L, FPG_ERROR_MT);
  lua_pushliteral(L, "fastpg.Error");
  lua_setfield(L, -2, "__name");
  lua_pop(L, 1);
}

void fpg_open_texts(lua_State *L) {
  keep_ffi(L);
  lua_pushcfunction(L, core_float_text);
  lua_setfield(L, -2, "float_text");
  lua_pushcfunction(L, core_printable);
  lua_setfield(L, -2, "printable");
}
