/* SPDX-License-Identifier: MIT
 *
 * value_range.c: fastpg.range and fastpg.multirange.
 *
 * A range is a userdata with the flags of the wire format; its user value is a table
 * { lower =, upper =, text = }: the bounds as Lua values (nil where there is none) and the server's
 * text.  A multirange's user value is the list of its ranges, and `text`.  Both are immutable.
 *
 * PostgreSQL manual: "Range Types".
 */
#include "value_range.h"

#include "escape.h"
#include "float_text.h"
#include "number.h"
#include "numeric.h"
#include "raise.h"
#include "surface.h"
#include "value.h"
#include "value_numeric.h"

typedef struct {
  int flags;
} range;

/* ---- text --------------------------------------------------------------------------------- */

static const fpg_escapes doubled = {"\"\\", 0};

/* A bound as range_out quotes it: in quotes when it is empty or holds what separates. */
void fpg_range_put_bound(lua_State *L, fpg_buf *out, const char *s, size_t len) {
  int quote = len == 0;
  for (size_t i = 0; i < len && !quote; i++)
    quote = strchr("\"\\()[], \t\n\r\v\f", s[i]) != NULL;
  if (!quote) {
    fpg_buf_put(L, out, s, len);
    return;
  }
  fpg_put_quoted(L, out, '"', s, len, &doubled);
}

/* The text of a bound made by hand: a string, a number or a value object. */
static void bound_text(lua_State *L, int idx, fpg_buf *out) {
  int64_t i;
  size_t len;
  if (lua_type(L, idx) == LUA_TSTRING) {
    const char *s = lua_tolstring(L, idx, &len);
    fpg_buf_put(L, out, s, len);
  } else if (fpg_to_int64(L, idx, &i)) {
    fpg_buf_putint(L, out, i);
  } else if (lua_type(L, idx) == LUA_TNUMBER) {
    char text[40];
    fpg_buf_put(L, out, text, fpg_float_text(text, (double)lua_tonumber(L, idx), 0));
  } else if (!fpg_value_text(L, idx, out)) {
    fpg_raise(L, "invalid_argument", "fastpg.range: a bound is a number, a value or text, got %s",
              fpg_describe(L, idx));
  }
}

/* The text of the range or multirange at idx, which keeps it. */
static size_t range_text(lua_State *L, int idx, char *to) {
  size_t len;
  fpg_getuservalue(L, idx);
  lua_getfield(L, -1, "text");
  const char *s = lua_tolstring(L, -1, &len);
  if (to) memcpy(to, s, len);
  lua_pop(L, 2);
  return len;
}

/* ---- making ------------------------------------------------------------------------------- */

/* Takes lower, upper and text (three values) from the stack, pushes the range. */
void fpg_push_range(lua_State *L, int flags) {
  int base = lua_gettop(L) - 2;
  range *r = fpg_value_new(L, FPG_V_RANGE, sizeof *r);
  r->flags = flags;
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, base);
  lua_setfield(L, -2, "lower");
  lua_pushvalue(L, base + 1);
  lua_setfield(L, -2, "upper");
  lua_pushvalue(L, base + 2);
  lua_setfield(L, -2, "text");
  fpg_setuservalue(L, -2);
  lua_replace(L, base);
  lua_settop(L, base);
}

/* The flags of the range at idx; pushes its bounds. */
int fpg_range_parts(lua_State *L, int idx) {
  range *r = fpg_value_check(L, idx, FPG_V_RANGE);
  fpg_getuservalue(L, idx);
  lua_getfield(L, -1, "lower");
  lua_getfield(L, -2, "upper");
  lua_remove(L, -3);
  return r->flags;
}

/* Takes the list of ranges and the text, pushes the multirange. */
void fpg_push_multirange(lua_State *L) {
  int base = lua_gettop(L) - 1;
  fpg_value_new(L, FPG_V_MULTIRANGE, 1);
  lua_pushvalue(L, base + 1);
  lua_setfield(L, base, "text");
  lua_pushvalue(L, base);
  fpg_setuservalue(L, -2);
  lua_replace(L, base);
  lua_settop(L, base);
}

static int bad_range(lua_State *L, const char *name, const char *what) {
  return fpg_raise(L, name, "fastpg.range: %s", what);
}

static const char *skip_blanks(const char *p, const char *end) {
  while (p < end && (*p == ' ' || (*p >= '\t' && *p <= '\r'))) p++;
  return p;
}

static int is_empty_word(const char *p, const char *end) {
  static const char word[] = "empty";
  for (size_t i = 0; i < sizeof word - 1; i++)
    if (p + i >= end || (p[i] | 0x20) != word[i]) return 0;
  return 1;
}

/* Reads one range at *at, as range_in does, and leaves *at behind it: pushes its bounds and gives its
 * flags; -1, with nothing pushed, where there is none. */
static int read_range(lua_State *L, const char **at, const char *end, fpg_buf *word) {
  const char *p = *at;
  int flags = 0, top = lua_gettop(L);
  if (is_empty_word(p, end)) {
    *at = p + 5;
    lua_pushnil(L);
    lua_pushnil(L);
    return FPG_RANGE_EMPTY;
  }
  if (p >= end || (*p != '[' && *p != '(')) return -1;
  if (*p++ == '[') flags |= FPG_RANGE_LOWER_INC;
  for (int upper = 0; upper < 2; upper++) {
    if (fpg_unquote(L, word, &p, end, ",)]"))
      lua_pushlstring(L, word->data ? word->data : "", word->len);
    else {
      lua_pushnil(L);
      flags |= upper ? FPG_RANGE_UPPER_INF : FPG_RANGE_LOWER_INF;
    }
    if (p >= end || (*p == ',') == upper) {
      lua_settop(L, top);
      return -1;
    }
    if (upper && *p == ']') flags |= FPG_RANGE_UPPER_INC;
    p++;
  }
  if (flags & FPG_RANGE_LOWER_INF) flags &= ~FPG_RANGE_LOWER_INC;
  if (flags & FPG_RANGE_UPPER_INF) flags &= ~FPG_RANGE_UPPER_INC;
  *at = p;
  return flags;
}

/* From text: the bounds stay text, the range's own type is not known. */
static int range_of_text(lua_State *L) {
  size_t len;
  const char *s = lua_tolstring(L, 1, &len), *end = s + len, *p = skip_blanks(s, end), *start = p;
  int flags = read_range(L, &p, end, fpg_buf_new(L));
  if (flags < 0 || skip_blanks(p, end) != end)
    return bad_range(L, "invalid_text_representation", "text such as [1,10) or empty expected");
  if (flags & FPG_RANGE_EMPTY) lua_pushliteral(L, "empty");
  else lua_pushlstring(L, start, (size_t)(p - start));
  fpg_push_range(L, flags);
  return 1;
}

/* Bounds of one kind can be told apart: numbers of every sort are one, dates and timestamps another.  A
 * string may be the text of anything: 0. */
static int bound_kind(lua_State *L, int idx) {
  int64_t i;
  int kind = fpg_value_kind(L, idx);
  if (kind == FPG_V_TIMESTAMP || kind == FPG_V_TIMESTAMPTZ) return FPG_V_DATE;
  if (!kind && (lua_type(L, idx) == LUA_TNUMBER || fpg_to_int64(L, idx, &i))) return FPG_V_NUMERIC;
  return kind;
}

/* Whether the two bounds, at 1 and 2, are in the wrong order, as far as that can be said here. */
static int is_backwards(lua_State *L, int kind) {
  if (kind == FPG_V_NUMERIC) {
    for (int i = 1; i <= 2; i++) {
      if (fpg_value_kind(L, i)) lua_pushvalue(L, i);
      else if (!fpg_push_numeric_of(L, i)) return 0;
    }
    int order = fpg_num_cmp(lua_touserdata(L, -2), lua_touserdata(L, -1));
    lua_pop(L, 2);
    return order > 0;
  }
  return fpg_value_kind(L, 1) == fpg_value_kind(L, 2) && kind < FPG_V_RANGE &&
         fpg_value_cmp(L, 1, 2) > 0;
}

static void check_bounds(lua_State *L) {
  int lower = bound_kind(L, 1), upper = bound_kind(L, 2);
  if (!lower || !upper) return;
  if (lower != upper) {
    const char *a = fpg_describe(L, 1), *b = fpg_describe(L, 2);
    fpg_raise(L, "invalid_argument", "fastpg.range: two bounds of one kind expected, got %s and %s", a, b);
  }
  if (is_backwards(L, lower))
    bad_range(L, "data_exception", "the lower bound is beyond the upper one");
}

/* core.range(text) or core.range(lower, upper, "[)"): nil for a bound that is left out */
static int core_range(lua_State *L) {
  if (lua_gettop(L) == 1 && lua_type(L, 1) == LUA_TSTRING) return range_of_text(L);
  if (lua_gettop(L) < 2) return bad_range(L, "invalid_argument", "text, or two bounds expected");
  const char *bounds = lua_isnoneornil(L, 3) ? "[)" : lua_tostring(L, 3);
  if (!bounds || strlen(bounds) != 2 || !strchr("[(", bounds[0]) || !strchr("])", bounds[1]))
    return bad_range(L, "syntax_error", "the third argument is \"[)\", \"[]\", \"()\" or \"(]\"");
  lua_settop(L, 2);
  check_bounds(L);
  int flags = (fpg_is_null(L, 1)         ? FPG_RANGE_LOWER_INF
               : bounds[0] == '['    ? FPG_RANGE_LOWER_INC
                                     : 0) |
              (fpg_is_null(L, 2)         ? FPG_RANGE_UPPER_INF
               : bounds[1] == ']'    ? FPG_RANGE_UPPER_INC
                                     : 0);
  fpg_buf *text = fpg_buf_new(L), *word = fpg_buf_new(L);
  fpg_buf_putc(L, text, flags & FPG_RANGE_LOWER_INC ? '[' : '(');
  for (int i = 1; i <= 2; i++) {
    word->len = 0;
    if (!fpg_is_null(L, i)) {
      bound_text(L, i, word);
      fpg_range_put_bound(L, text, word->data ? word->data : "", word->len);
    }
    fpg_buf_putc(L, text, i == 1 ? ',' : flags & FPG_RANGE_UPPER_INC ? ']' : ')');
    if (fpg_is_null(L, i)) lua_pushnil(L); else lua_pushvalue(L, i);
  }
  lua_pushlstring(L, text->data, text->len);
  fpg_push_range(L, flags);
  return 1;
}

/* Appends the ranges of the text to the list at `list`; 0 where it is none of a multirange. */
static int read_ranges(lua_State *L, int list, const char *p, const char *end) {
  fpg_buf *word = fpg_buf_new(L);
  p = skip_blanks(p, end);
  if (p >= end || *p++ != '{') return 0;
  p = skip_blanks(p, end);
  for (int i = 1; p < end && *p != '}'; i++) {
    const char *start = p;
    int flags = read_range(L, &p, end, word);
    if (flags < 0) return 0;
    lua_pushlstring(L, start, (size_t)(p - start));
    fpg_push_range(L, flags);
    lua_rawseti(L, list, i);
    p = skip_blanks(p, end);
    if (p < end && *p == ',') {
      p = skip_blanks(p + 1, end);
      if (p < end && *p == '}') return 0;
    } else if (p < end && *p != '}') {
      return 0;
    }
  }
  return p < end && skip_blanks(p + 1, end) == end;
}

/* The text stays what is sent: the server puts ranges in order and joins them. */
static int multirange_of_text(lua_State *L) {
  size_t len;
  const char *s = lua_tolstring(L, 1, &len);
  lua_newtable(L);
  int list = lua_gettop(L);
  if (!read_ranges(L, list, s, s + len))
    return fpg_raise(L, "invalid_text_representation", "fastpg.multirange: text such as {[1,3),[7,9)} expected");
  lua_settop(L, list);
  lua_pushvalue(L, 1);
  fpg_push_multirange(L);
  return 1;
}

/* core.multirange{ range, … } or core.multirange(text) */
static int core_multirange(lua_State *L) {
  fpg_buf *text;
  if (lua_type(L, 1) == LUA_TSTRING) return multirange_of_text(L);
  if (lua_type(L, 1) != LUA_TTABLE)
    return fpg_raise(L, "invalid_argument", "fastpg.multirange: a list of ranges expected, got %s",
                     fpg_describe(L, 1));
  int n = (int)lua_rawlen(L, 1);
  lua_createtable(L, n, 1);
  int list = lua_gettop(L);
  text = fpg_buf_new(L);
  fpg_buf_putc(L, text, '{');
  for (int i = 1; i <= n; i++) {
    if (i > 1) fpg_buf_putc(L, text, ',');
    lua_rawgeti(L, 1, i);
    fpg_value_check(L, lua_gettop(L), FPG_V_RANGE);
    fpg_value_text(L, lua_gettop(L), text);
    lua_rawseti(L, list, i);
  }
  fpg_buf_putc(L, text, '}');
  lua_pushvalue(L, list);
  lua_pushlstring(L, text->data, text->len);
  fpg_push_multirange(L);
  return 1;
}

/* ---- what they are ------------------------------------------------------------------------ */

static const char *const range_fields[] = {"lower", "upper", "lower_inc", "upper_inc", "empty", NULL};

/* Upvalue: the table of names, for the error about one that is not among them. */
static int range_index(lua_State *L) {
  range *r = fpg_value_check(L, 1, FPG_V_RANGE);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  int i = 0;
  while (range_fields[i] && strcmp(range_fields[i], key) != 0) i++;
  switch (i) {
    case 0:
    case 1:
      fpg_getuservalue(L, 1);
      lua_getfield(L, -1, key);
      return 1;
    case 2: lua_pushboolean(L, r->flags & FPG_RANGE_LOWER_INC); return 1;
    case 3: lua_pushboolean(L, r->flags & FPG_RANGE_UPPER_INC); return 1;
    case 4: lua_pushboolean(L, r->flags & FPG_RANGE_EMPTY); return 1;
    default: return fpg_value_unknown(L, FPG_V_RANGE, lua_upvalueindex(1));
  }
}

static int equal_fields(lua_State *L, const char *field) {
  lua_getfield(L, 3, field);
  lua_getfield(L, 4, field);
  int same = fpg_equal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

static int range_eq(lua_State *L) {
  range *a = fpg_value_to(L, 1, FPG_V_RANGE), *b = fpg_value_to(L, 2, FPG_V_RANGE);
  int same = a && b && a->flags == b->flags;
  if (same) {
    lua_settop(L, 2);
    fpg_getuservalue(L, 1);
    fpg_getuservalue(L, 2);
    same = equal_fields(L, "text") || (equal_fields(L, "lower") && equal_fields(L, "upper"));
  }
  lua_pushboolean(L, same);
  return 1;
}

static int multirange_eq(lua_State *L) {
  int same = fpg_value_to(L, 1, FPG_V_MULTIRANGE) && fpg_value_to(L, 2, FPG_V_MULTIRANGE);
  if (same) {
    lua_settop(L, 2);
    fpg_getuservalue(L, 1);
    fpg_getuservalue(L, 2);
    same = equal_fields(L, "text");
  }
  lua_pushboolean(L, same);
  return 1;
}

/* m[i], m:ranges() */
static int multirange_ranges(lua_State *L) {
  fpg_value_check(L, 1, FPG_V_MULTIRANGE);
  fpg_getuservalue(L, 1);
  int n = (int)lua_rawlen(L, -1);
  lua_createtable(L, n, 0);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, -2, i);
    lua_rawseti(L, -2, i);
  }
  return 1;
}

/* Upvalue: the methods. */
static int multirange_index(lua_State *L) {
  fpg_value_check(L, 1, FPG_V_MULTIRANGE);
  lua_settop(L, 2);
  if (lua_type(L, 2) == LUA_TNUMBER) {
    fpg_getuservalue(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return lua_isnil(L, -1) ? fpg_value_unknown(L, FPG_V_MULTIRANGE, lua_upvalueindex(1)) : 1;
}

static int multirange_len(lua_State *L) {
  fpg_value_check(L, 1, FPG_V_MULTIRANGE);
  fpg_getuservalue(L, 1);
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
  return 1;
}

static int ranges_tostring(lua_State *L) {
  if (!fpg_value_to(L, 1, FPG_V_RANGE)) fpg_value_check(L, 1, FPG_V_MULTIRANGE);
  fpg_getuservalue(L, 1);
  lua_getfield(L, -1, "text");
  return 1;
}

static const luaL_Reg range_meta[] = {
    {"__eq", range_eq}, {"__tostring", ranges_tostring}, {NULL, NULL},
};

static const luaL_Reg multirange_meta[] = {
    {"__eq", multirange_eq}, {"__len", multirange_len}, {"__tostring", ranges_tostring}, {NULL, NULL},
};

static const fpg_method multirange_methods[] = {{"ranges", multirange_ranges, 0}, {NULL, NULL, 0}};

static const fpg_value_class range_class = {.kind = FPG_V_RANGE, .text = range_text};
static const fpg_value_class multirange_class = {.kind = FPG_V_MULTIRANGE, .text = range_text};

void fpg_open_value_range(lua_State *L) {
  lua_newtable(L);
  for (int i = 0; range_fields[i]; i++) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, range_fields[i]);
  }
  lua_pushcclosure(L, range_index, 1);
  fpg_value_metatable(L, &range_class, range_meta);
  lua_newtable(L);
  fpg_set_methods(L, multirange_methods, FPG_V_MULTIRANGE);
  lua_pushcclosure(L, multirange_index, 1);
  fpg_value_metatable(L, &multirange_class, multirange_meta);
  lua_pushcfunction(L, core_range);
  lua_setfield(L, -2, "range");
  lua_pushcfunction(L, core_multirange);
  lua_setfield(L, -2, "multirange");
}
