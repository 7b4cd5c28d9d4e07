/* SPDX-License-Identifier: MIT
 *
 * relation.c: relations as the catalog found them.  See relation.h.
 */
#include "relation.h"

#include "buffer.h"
#include "quote.h"
#include "udata.h"

static int get_int(lua_State *L, int idx, const char *field) {
  lua_getfield(L, idx, field);
  int v = (int)lua_tonumber(L, -1);
  lua_pop(L, 1);
  return v;
}

static int get_bool(lua_State *L, int idx, const char *field) {
  lua_getfield(L, idx, field);
  int v = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return v;
}

static unsigned char column_flags(lua_State *L, int col) {
  return (unsigned char)((get_bool(L, col, "is_array") ? FPG_COL_ARRAY : 0) |
                         (get_bool(L, col, "is_json") ? FPG_COL_JSON : 0) |
                         (get_bool(L, col, "generated") ? FPG_COL_GENERATED : 0) |
                         (get_bool(L, col, "identity_always") ? FPG_COL_ALWAYS : 0));
}

/* core.relation(qualified, { { name =, is_array =, is_json =, generated =, identity_always =,
 * pk = position in the key or 0 }, … }) -> relation */
static int core_relation(lua_State *L) {
  luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int n = (int)lua_rawlen(L, 2);
  size_t flags = ((size_t)n + sizeof(int) - 1) & ~(sizeof(int) - 1);
  size_t size = sizeof(fpg_rel) + flags + (size_t)n * sizeof(int);
  fpg_rel *r = fpg_newuserdata(L, size);
  int self = lua_gettop(L);
  memset(r, 0, size);
  luaL_setmetatable(L, FPG_REL_MT);
  r->ncols = n;
  r->pk = (int *)(void *)(r->flags + flags);
  lua_createtable(L, n, 4);
  int names = lua_gettop(L);
  lua_createtable(L, n, 0);
  int quoted = lua_gettop(L);
  lua_createtable(L, 0, n);
  int index = lua_gettop(L);
  fpg_buf *b = fpg_buf_new(L);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    int col = lua_gettop(L);
    size_t len;
    lua_getfield(L, col, "name");
    const char *name = luaL_checklstring(L, -1, &len);
    b->len = 0;
    fpg_put_ident(L, b, name, len);
    lua_pushlstring(L, b->data, b->len);
    lua_rawseti(L, quoted, i);
    lua_pushvalue(L, -1);
    lua_pushinteger(L, i);
    lua_rawset(L, index);
    lua_rawseti(L, names, i);
    r->flags[i - 1] = column_flags(L, col);
    int pk = get_int(L, col, "pk");
    if (pk > 0 && pk <= n) {
      r->pk[pk - 1] = i;
      if (pk > r->npk) r->npk = pk;
    }
    lua_settop(L, col - 1);
  }
  lua_settop(L, index);
  lua_setfield(L, names, "index");
  lua_setfield(L, names, "quoted");
  lua_newtable(L);
  lua_setfield(L, names, "sql");
  lua_pushvalue(L, 1);
  lua_setfield(L, names, "qualified");
  fpg_setuservalue(L, self);
  return 1;
}

fpg_rel *fpg_check_rel(lua_State *L, int idx) { return luaL_checkudata(L, idx, FPG_REL_MT); }

fpg_rel_names fpg_rel_push(lua_State *L, int idx) {
  fpg_rel_names n;
  fpg_getuservalue(L, idx);
  n.names = lua_gettop(L);
  lua_getfield(L, n.names, "quoted");
  n.quoted = lua_gettop(L);
  return n;
}

/* ---- the handle of a table ---------------------------------------------------------------- */

#define TABLE_MT "fastpg.table"

/* core.table_new(state) -> a Table: a userdata whose state is a Lua table.  A userdata, because
 * only there `#` and `__index` for every key work on each Lua. */
static int core_table_new(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  fpg_newuserdata(L, 1);
  luaL_setmetatable(L, TABLE_MT);
  lua_pushvalue(L, 1);
  fpg_setuservalue(L, -2);
  return 1;
}

/* core.table_state(value) -> the state of a Table, nil for anything else */
static int core_table_state(lua_State *L) {
  if (!fpg_known_udata(L, 1, 1)) return 0;
  fpg_getuservalue(L, 1);
  return 1;
}

void fpg_open_relation(lua_State *L) {
  luaL_newmetatable(L, FPG_REL_MT);
  lua_pushliteral(L, FPG_REL_MT);
  lua_setfield(L, -2, "__name");
  lua_newtable(L);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newmetatable(L, TABLE_MT);
  lua_pushliteral(L, TABLE_MT);
  lua_setfield(L, -2, "__name");
  lua_setfield(L, -2, "table_metatable"); /* its metamethods talk to the server: they are Lua's */
  lua_pushcfunction(L, core_relation);
  lua_setfield(L, -2, "relation");
  lua_pushcfunction(L, core_table_new);
  lua_setfield(L, -2, "table_new");
  luaL_getmetatable(L, TABLE_MT);
  lua_pushcclosure(L, core_table_state, 1);
  lua_setfield(L, -2, "table_state");
}
