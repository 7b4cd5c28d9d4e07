/* SPDX-License-Identifier: MIT
 *
 * connect.c: beginning a connection, and what libpq knows of the server that is meant.
 *
 * PostgreSQL manual: "Database Connection Control Functions" of libpq.
 */
#include "conn.h"
#include "error.h"

/* ---- connecting --------------------------------------------------------------------------- */

static void ignore_notice(void *arg, const PGresult *res) { (void)arg, (void)res; }

/* core.connect{ keyword = text, ... } -> connection, under way: drive it with connect_step */
static int core_connect(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  fpg_conn *c = fpg_newuserdata(L, sizeof *c);
  memset(c, 0, sizeof *c);
  luaL_setmetatable(L, FPG_CONN_MT);
  int self = lua_gettop(L);
  lua_createtable(L, 3, 0); /* anchors of the two arenas and the holder */
  c->buf = fpg_buf_new(L);
  lua_rawseti(L, -2, 1);
  c->argv = fpg_buf_new(L);
  lua_rawseti(L, -2, 2);
  fpg_setuservalue(L, self);
  const char *keywords[64], *values[64];
  int n = 0;
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    if (n == 62) return fpg_raise(L, "invalid_argument", "too many connection keywords");
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
      return fpg_raise(L, "invalid_argument", "connection keywords and values are strings");
    keywords[n] = lua_tostring(L, -2);
    values[n++] = lua_tostring(L, -1); /* anchored by the table */
    lua_pop(L, 1);
  }
  keywords[n] = values[n] = NULL;
  c->owner = fpg_process_id();
  c->pg = PQconnectStartParams(keywords, values, 0); /* a dbname is a name, not a conninfo */
  if (!c->pg) return luaL_error(L, "not enough memory");
  PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
  lua_settop(L, self);
  return 1;
}

/* conn:connect_step() -> "r" / "w" to wait for, true when connected; raises "connection" */
static int conn_connect_step(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  PostgresPollingStatusType s =
      PQstatus(c->pg) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PQconnectPoll(c->pg);
  switch (s) {
    case PGRES_POLLING_READING: lua_pushliteral(L, "r"); return 1;
    case PGRES_POLLING_WRITING: lua_pushliteral(L, "w"); return 1;
    case PGRES_POLLING_OK:
      PQsetnonblocking(c->pg, 1);
      c->connected = 1;
      lua_pushboolean(L, 1);
      return 1;
    default: fpg_push_conn_error(L, c->pg); return lua_error(L);
  }
}

/* ---- conninfo ----------------------------------------------------------------------------- */

#define OPTIONS_MT "fastpg.conninfo"

static int options_gc(lua_State *L) {
  PQconninfoOption **box = lua_touserdata(L, 1);
  PQconninfoFree(*box);
  *box = NULL;
  return 0;
}

/* Pushes what will own libpq's list of options. */
static PQconninfoOption **push_options(lua_State *L) {
  PQconninfoOption **box = fpg_newuserdata(L, sizeof *box);
  *box = NULL;
  luaL_setmetatable(L, OPTIONS_MT);
  return box;
}

static void add_options(lua_State *L, const PQconninfoOption *options) {
  for (const PQconninfoOption *o = options; o && o->keyword; o++) {
    if (!o->val) continue;
    lua_pushstring(L, o->val);
    lua_setfield(L, -2, o->keyword);
  }
}

/* core.conninfo_parse(text) -> { keyword = value } of a conninfo string or URI, or nil.  Not why:
 * libpq's message can quote a piece of the string, and with it a password. */
static int core_conninfo_parse(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  PQconninfoOption **box = push_options(L);
  lua_newtable(L);
  *box = PQconninfoParse(text, NULL);
  if (!*box) return 0;
  add_options(L, *box);
  return 1;
}

/* core.conninfo_defaults() -> what the environment and libpq give; nil keyword list second */
static int core_conninfo_defaults(lua_State *L) {
  PQconninfoOption **box = push_options(L);
  lua_newtable(L);
  *box = PQconndefaults();
  add_options(L, *box);
  lua_newtable(L);
  for (const PQconninfoOption *o = *box; o && o->keyword; o++) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, o->keyword);
  }
  return 2;
}

static const luaL_Reg methods[] = {
    {"connect_step", conn_connect_step},
    {NULL, NULL},
};

static const luaL_Reg core_functions[] = {
    {"connect", core_connect},
    {"conninfo_parse", core_conninfo_parse},
    {"conninfo_defaults", core_conninfo_defaults},
    {NULL, NULL},
};

void fpg_open_connect(lua_State *L, int table) {
  lua_pushvalue(L, table);
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
}

void fpg_open_conninfo(lua_State *L) {
  luaL_newmetatable(L, OPTIONS_MT);
  lua_pushcfunction(L, options_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_setfuncs(L, core_functions, 0);
}
