/* SPDX-License-Identifier: MIT
 *
 * prepared.c: prepared statements.  See prepared.h.
 */
#include "prepared.h"

#include <stdio.h>

#include "codec_other.h"
#include "number.h"
#include "raise.h"
#include "udata.h"

/* Adds the name on top of the stack, which it takes, to the list `duplicates` of the shape at idx. */
static void note_duplicate(lua_State *L, int idx) {
  lua_getfield(L, idx, "duplicates");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, idx, "duplicates");
  }
  lua_insert(L, -2);
  lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

/* Pushes the shape of a described result; true when two columns have the same name. */
static int push_shape(lua_State *L, const PGresult *res) {
  int n = PQnfields(res), duplicates = 0;
  lua_createtable(L, 0, 4);
  int shape = lua_gettop(L);
  lua_createtable(L, n, 0); /* columns */
  lua_createtable(L, n, 0); /* types */
  lua_createtable(L, 0, n); /* index */
  for (int i = 0; i < n; i++) {
    lua_pushstring(L, PQfname(res, i));
    lua_pushvalue(L, -1);
    lua_rawseti(L, shape + 1, i + 1);
    lua_pushvalue(L, -1);
    lua_rawget(L, shape + 3);
    int twice = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (twice) {
      duplicates = 1;
      lua_pushvalue(L, -1);
      note_duplicate(L, shape);
    }
    lua_pushinteger(L, i + 1);
    lua_rawset(L, shape + 3);
    fpg_push_int64(L, PQftype(res, i));
    lua_rawseti(L, shape + 2, i + 1);
  }
  lua_setfield(L, shape, "index");
  lua_setfield(L, shape, "types");
  lua_setfield(L, shape, "columns");
  return duplicates;
}

static fpg_stmt *new_stmt(lua_State *L, const char *name, int nparams, int ncols, size_t names) {
  size_t size = sizeof(fpg_stmt) + (size_t)nparams * sizeof(fpg_type *) +
                (size_t)ncols * sizeof(fpg_column) +
                ((size_t)nparams + (size_t)ncols) * sizeof(uint32_t) + names;
  fpg_stmt *st = fpg_newuserdata(L, size);
  memset(st, 0, size);
  luaL_setmetatable(L, FPG_STMT_MT);
  snprintf(st->name, sizeof st->name, "%s", name);
  st->nparams = nparams;
  st->ncols = ncols;
  st->cols = (fpg_column *)(void *)(st->params + nparams);
  st->oids = (uint32_t *)(void *)(st->cols + ncols);
  st->names = (char *)(st->oids + nparams + ncols);
  return st;
}

/* Pushes a statement with the columns of the result. */
static fpg_stmt *stmt_with_columns(lua_State *L, const char *name, int nparams, const PGresult *res) {
  int ncols = PQnfields(res);
  size_t names = 0;
  for (int i = 0; i < ncols; i++) names += strlen(PQfname(res, i)) + 1;
  fpg_stmt *st = new_stmt(L, name, nparams, ncols, names);
  char *to = st->names;
  for (int i = 0; i < ncols; i++) {
    size_t len = strlen(PQfname(res, i)) + 1;
    st->oids[nparams + i] = PQftype(res, i);
    memcpy(to, PQfname(res, i), len);
    to += len;
  }
  st->duplicates = push_shape(L, res);
  fpg_setuservalue(L, -2);
  return st;
}

fpg_stmt *fpg_stmt_new(lua_State *L, const char *name, const PGresult *res) {
  fpg_stmt *st = stmt_with_columns(L, name, PQnparams(res), res);
  for (int i = 0; i < st->nparams; i++) st->oids[i] = PQparamtype(res, i);
  return st;
}

fpg_stmt *fpg_stmt_known(lua_State *L, const char *name, int idx, const PGresult *res) {
  int nparams = (int)lua_rawlen(L, idx);
  fpg_stmt *st = res ? stmt_with_columns(L, name, nparams, res) : new_stmt(L, name, nparams, 0, 0);
  if (!res) {
    lua_newtable(L);
    fpg_setuservalue(L, -2);
  }
  for (int i = 0; i < nparams; i++) {
    int64_t oid = 0;
    lua_rawgeti(L, idx, i + 1);
    fpg_to_int64(L, -1, &oid);
    st->oids[i] = (uint32_t)oid;
    lua_pop(L, 1);
  }
  return st;
}

fpg_stmt *fpg_stmt_of_result(lua_State *L, const PGresult *res) {
  fpg_stmt *st = fpg_stmt_new(L, "", res);
  st->given = 1;
  st->format = st->ncols ? PQfformat(res, 0) : FPG_TEXT; /* of all columns: libpq asks for one */
  return st;
}

int fpg_stmt_describes(const fpg_stmt *st, const PGresult *res) {
  if (PQnfields(res) != st->ncols) return 0;
  const uint32_t *oids = st->oids + st->nparams;
  const char *name = st->names;
  for (int i = 0; i < st->ncols; i++) {
    if (oids[i] != PQftype(res, i) || strcmp(name, PQfname(res, i)) != 0) return 0;
    name += strlen(name) + 1;
  }
  return 1;
}

fpg_stmt *fpg_stmt_undescribed(lua_State *L, int nparams) {
  fpg_stmt *st = new_stmt(L, "", nparams, 0, 0);
  for (int i = 0; i < nparams; i++) st->params[i] = &fpg_type_other;
  return st;
}

/* Reads what came in binary and can't be read: the result is there, no other form can be asked for. */
static void decode_nothing(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  (void)cx, (void)p, (void)len;
  fpg_raise(L, "feature_not_supported",
            "the result has other columns than the statement was described with, and a type without a binary form (%s): "
            "run it once more",
            type->name);
}

/* How a column of this format is read. */
static fpg_decode_fn *decoder(const fpg_type *type, int format) {
  if (format == FPG_TEXT) return type->decode_text;
  return fpg_type_reads_binary(type) ? type->decode_binary : decode_nothing;
}

enum { TEXT = 25 };

/* A boolean: everything else that has no text of its own is an error of its own, too. */
int fpg_stmt_misfit(lua_State *L, const fpg_stmt *st, int list, int first, int n) {
  for (int i = 0; i < n && i < st->nparams; i++) {
    if (st->oids[i] != TEXT) continue;
    if (!list) {
      if (lua_isboolean(L, first + i)) return i + 1;
      continue;
    }
    lua_rawgeti(L, list, i + 1);
    int is = lua_isboolean(L, -1);
    lua_pop(L, 1);
    if (is) return i + 1;
  }
  return 0;
}

/* Finds the types; true when one was not known: it is read and written as the server's text. */
static int bind_types(fpg_stmt *st) {
  int unknown = 0;
  if (!st->given) st->format = FPG_BINARY;
  for (int i = 0; i < st->nparams + st->ncols; i++) {
    const fpg_type *type = fpg_typemap_find(st->types, st->oids[i]);
    if (!type) {
      unknown = 1;
      type = &fpg_type_other;
    }
    if (i < st->nparams) {
      st->params[i] = type;
      st->has_text |= st->oids[i] == TEXT;
    } else {
      st->cols[i - st->nparams].type = type;
      if (!st->given && !fpg_type_has_binary(type)) st->format = FPG_TEXT;
    }
  }
  for (int i = 0; i < st->ncols; i++) {
    fpg_column *c = &st->cols[i];
    c->decode = decoder(c->type, st->format);
  }
  return unknown;
}

/* stmt:bind(typemap) -> nil, or the list of the oids that neither the core nor the map knows.  To be
 * called before the statement is used, and again once they were looked up. */
static int stmt_bind(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  st->types = fpg_check_typemap(L, 2);
  fpg_getuservalue(L, 1);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "typemap"); /* keeps the types alive */
  lua_pushnil(L);
  lua_setfield(L, -2, "flat"); /* made for the types as they were (fastpg.pg.flat_rows) */
  if (!bind_types(st)) return 0;
  lua_newtable(L);
  int n = 0;
  for (int i = 0; i < st->nparams + st->ncols; i++) {
    if (fpg_typemap_find(st->types, st->oids[i])) continue;
    fpg_push_int64(L, st->oids[i]);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

fpg_stmt *fpg_check_stmt(lua_State *L, int idx) {
  fpg_stmt *st = fpg_known_udata(L, idx, 1); /* (of their own methods) */
  return st ? st : luaL_checkudata(L, idx, FPG_STMT_MT);
}

enum { RECORD = 2249 };

/* Whether values of the type name types themselves, in their binary form: a record, a composite type, what is
 * made of them. */
static int names_types(const fpg_type *type) {
  for (; type; type = type->elem)
    if (type->traits & FPG_NAMES_TYPES) return 1;
  return 0;
}

/* Adds the oids of the composite types in the type to the list on top of the stack, which also has them as keys of the
 * table below it: each once (a table's row may hold an array of such rows). */
static void add_composites(lua_State *L, const fpg_type *type) {
  luaL_checkstack(L, 4, "composite");
  for (; type; type = type->elem) {
    if (!(type->traits & FPG_NAMES_TYPES) || !type->oid || type->oid == RECORD) continue;
    fpg_push_int64(L, type->oid);
    lua_pushvalue(L, -1);
    lua_rawget(L, -4);
    int there = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (there) {
      lua_pop(L, 1);
      return;
    }
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -5);
    lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
    for (int i = 0; i < type->nfields; i++) add_composites(L, type->fields[i]);
  }
}

/* stmt:composites() -> nil, or the list of the oids of the composite types that its parameters and columns are made
 * of: what is known of them may be wrong.  Its `any` is true where a column is an anonymous record, or is made of such: it
 * may hold any type. */
static int stmt_composites(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  for (int i = 0; i < st->nparams; i++) add_composites(L, st->params[i]);
  int any = 0;
  for (int i = 0; i < st->ncols; i++) {
    add_composites(L, st->cols[i].type);
    for (const fpg_type *t = st->cols[i].type; t; t = t->elem) any |= t->oid == RECORD;
  }
  int found = lua_rawlen(L, -1) > 0;
  lua_pushboolean(L, any);
  lua_setfield(L, -2, "any");
  return found || any;
}

/* stmt:names_types() -> whether the values of a column name types: one may be unknown, or others than the composite
 * type was known with */
static int stmt_names_types(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  int found = 0;
  for (int i = 0; i < st->ncols; i++) found |= names_types(st->cols[i].type);
  lua_pushboolean(L, found);
  return 1;
}

/* stmt:text_needs() -> what the text of its result depends on, added up (FPG_NEEDS_*); 0 where it comes in binary */
static int stmt_text_needs(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  int needs = 0;
  for (int i = 0; i < st->ncols && st->format == FPG_TEXT; i++) needs |= fpg_type_text_needs(st->cols[i].type);
  lua_pushinteger(L, needs & ~FPG_NEEDS_INTERVAL_STYLE);
  return 1;
}

/* stmt:set_plain(): from here on it is sent without further looks at it */
static int stmt_set_plain(lua_State *L) {
  fpg_check_stmt(L, 1)->plain = 1;
  return 0;
}

/* stmt:is_plain() -> whether that was said */
static int stmt_is_plain(lua_State *L) {
  lua_pushboolean(L, fpg_check_stmt(L, 1)->plain);
  return 1;
}

/* stmt:shape() -> the table described in prepared.h */
static int stmt_shape(lua_State *L) {
  fpg_check_stmt(L, 1);
  fpg_getuservalue(L, 1);
  return 1;
}

/* stmt:info() -> name on the server, number of parameters, number of columns */
static int stmt_info(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  lua_pushstring(L, st->name);
  lua_pushinteger(L, st->nparams);
  lua_pushinteger(L, st->ncols);
  return 3;
}

/* stmt:param_type(i) -> the name of the type of parameter i, as messages show it */
static int stmt_param_type(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  int64_t i;
  if (!fpg_to_int64(L, 2, &i) || i < 1 || i > st->nparams) return 0;
  lua_pushstring(L, st->params[i - 1]->name);
  return 1;
}

/* stmt:param_oids() -> the oids of the types of its parameters */
static int stmt_param_oids(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  lua_createtable(L, st->nparams, 0);
  for (int i = 0; i < st->nparams; i++) {
    lua_pushinteger(L, (lua_Integer)st->oids[i]);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* stmt:misfit(list, n) -> the position of the first of these arguments that the server takes for text and that text can't
 * take; nil where there is none */
static int stmt_misfit(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  int64_t n;
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_argcheck(L, fpg_to_int64(L, 3, &n), 3, "a count expected");
  int at = st->has_text ? fpg_stmt_misfit(L, st, 2, 0, (int)n) : 0;
  if (!at) return 0;
  lua_pushinteger(L, at);
  return 1;
}

/* stmt:binary_values(i) -> of which values parameter i has a binary form (fpg_type_binary_values) */
static int stmt_binary_values(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  int64_t i;
  if (!fpg_to_int64(L, 2, &i) || i < 1 || i > st->nparams) return 0;
  lua_pushstring(L, fpg_type_binary_values(st->params[i - 1]));
  return 1;
}

static const luaL_Reg stmt_methods[] = {
    {"bind", stmt_bind},
    {"names_types", stmt_names_types},
    {"composites", stmt_composites},
    {"text_needs", stmt_text_needs},
    {"set_plain", stmt_set_plain},
    {"is_plain", stmt_is_plain},
    {"shape", stmt_shape},
    {"info", stmt_info},
    {"param_type", stmt_param_type},
    {"binary_values", stmt_binary_values},
    {"misfit", stmt_misfit},
    {"param_oids", stmt_param_oids},
    {NULL, NULL},
};

void fpg_open_prepared(lua_State *L) {
  luaL_newmetatable(L, FPG_STMT_MT);
  lua_pushliteral(L, FPG_STMT_MT);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, -2);
  luaL_setfuncs(L, stmt_methods, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
