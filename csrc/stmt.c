/* SPDX-License-Identifier: MIT
 *
 * stmt.c: prepared statements.  See stmt.h.
 */
#include "stmt.h"

#include <stdio.h>

/* Pushes the shape of a described result; true when two columns have the same name. */
static int push_shape(lua_State *L, const PGresult *res) {
  int n = PQnfields(res), duplicates = 0;
  lua_createtable(L, 0, 4);
  lua_createtable(L, n, 0); /* columns */
  lua_createtable(L, n, 0); /* types */
  lua_createtable(L, 0, n); /* index */
  for (int i = 0; i < n; i++) {
    lua_pushstring(L, PQfname(res, i));
    lua_pushvalue(L, -1);
    lua_rawseti(L, -5, i + 1);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    duplicates |= !lua_isnil(L, -1);
    lua_pop(L, 1);
    lua_pushinteger(L, i + 1);
    lua_rawset(L, -3);
    fpg_push_int64(L, PQftype(res, i));
    lua_rawseti(L, -3, i + 1);
  }
  lua_setfield(L, -4, "index");
  lua_setfield(L, -3, "types");
  lua_setfield(L, -2, "columns");
  return duplicates;
}

static fpg_stmt *new_stmt(lua_State *L, const char *name, int nparams, int ncols) {
  size_t size = sizeof(fpg_stmt) + (size_t)nparams * sizeof(fpg_type *) +
                (size_t)ncols * sizeof(fpg_column) +
                ((size_t)nparams + (size_t)ncols) * sizeof(uint32_t);
  fpg_stmt *st = fpg_newuserdata(L, size);
  memset(st, 0, size);
  luaL_setmetatable(L, FPG_STMT_MT);
  snprintf(st->name, sizeof st->name, "%s", name);
  st->nparams = nparams;
  st->ncols = ncols;
  st->cols = (fpg_column *)(void *)(st->params + nparams);
  st->oids = (uint32_t *)(void *)(st->cols + ncols);
  return st;
}

fpg_stmt *fpg_stmt_new(lua_State *L, const char *name, const PGresult *res) {
  int nparams = PQnparams(res), ncols = PQnfields(res);
  fpg_stmt *st = new_stmt(L, name, nparams, ncols);
  for (int i = 0; i < nparams; i++) st->oids[i] = PQparamtype(res, i);
  for (int i = 0; i < ncols; i++) st->oids[nparams + i] = PQftype(res, i);
  st->duplicates = push_shape(L, res);
  fpg_setuservalue(L, -2);
  return st;
}

fpg_stmt *fpg_stmt_undescribed(lua_State *L, int nparams) {
  fpg_stmt *st = new_stmt(L, "", nparams, 0);
  for (int i = 0; i < nparams; i++) st->params[i] = &fpg_type_other;
  return st;
}

/* Finds the types; true when one was not known: it is read and written as the server's text. */
static int bind_types(fpg_stmt *st) {
  int unknown = 0;
  st->format = FPG_BINARY;
  for (int i = 0; i < st->nparams + st->ncols; i++) {
    const fpg_type *type = fpg_typemap_find(st->types, st->oids[i]);
    if (!type) {
      unknown = 1;
      type = &fpg_type_other;
    }
    if (i < st->nparams) {
      st->params[i] = type;
    } else {
      st->cols[i - st->nparams].type = type;
      if (st->text_only || !fpg_type_has_binary(type)) st->format = FPG_TEXT;
    }
  }
  for (int i = 0; i < st->ncols; i++) {
    fpg_column *c = &st->cols[i];
    c->decode = st->format == FPG_BINARY ? c->type->decode_binary : c->type->decode_text;
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

fpg_stmt *fpg_check_stmt(lua_State *L, int idx) { return luaL_checkudata(L, idx, FPG_STMT_MT); }

/* stmt:has_record() -> whether a column is an anonymous record, whose types only its values name */
static int stmt_has_record(lua_State *L) {
  enum { RECORD = 2249, RECORD_ARRAY = 2287 };
  fpg_stmt *st = fpg_check_stmt(L, 1);
  int found = 0;
  for (int i = 0; i < st->ncols; i++) {
    uint32_t oid = st->oids[st->nparams + i];
    found |= oid == RECORD || oid == RECORD_ARRAY;
  }
  lua_pushboolean(L, found);
  return 1;
}

/* stmt:shape() -> the table described in stmt.h */
static int stmt_shape(lua_State *L) {
  fpg_check_stmt(L, 1);
  fpg_getuservalue(L, 1);
  return 1;
}

/* stmt:info() -> name on the server, number of parameters, number of columns, last use */
static int stmt_info(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  lua_pushstring(L, st->name);
  lua_pushinteger(L, st->nparams);
  lua_pushinteger(L, st->ncols);
  lua_pushnumber(L, st->used);
  return 4;
}

/* stmt:param_type(i) -> the name of the type of parameter i, as messages show it */
static int stmt_param_type(lua_State *L) {
  fpg_stmt *st = fpg_check_stmt(L, 1);
  int64_t i;
  if (!fpg_to_int64(L, 2, &i) || i < 1 || i > st->nparams) return 0;
  lua_pushstring(L, st->params[i - 1]->name);
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
    {"has_record", stmt_has_record},
    {"shape", stmt_shape},
    {"info", stmt_info},
    {"param_type", stmt_param_type},
    {"binary_values", stmt_binary_values},
    {NULL, NULL},
};

void fpg_open_stmt(lua_State *L) {
  luaL_newmetatable(L, FPG_STMT_MT);
  lua_pushliteral(L, FPG_STMT_MT);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 3);
  luaL_setfuncs(L, stmt_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
