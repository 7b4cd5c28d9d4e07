/* SPDX-License-Identifier: MIT
 *
 * row_scan.c: see row_scan.h.
 *
 * Records that one constructor made have their keys in one order: of each place in that order it is kept which column
 * was there in the record before, so that a key costs the comparison of two pointers.  (Equal short strings are one in
 * every Lua; of a long one, which is not, the pointer never matches, and it is looked up by its name.)
 *
 * What a name that is not known means, the caller decides (fastpg.table.copy_rows) and adds it, or raises.
 */
#include "row_scan.h"

#include "number.h"

#define SCAN_MT "fastpg.rowscan"

enum { STRINGS = 1, OBJECTS = 2 };

typedef struct {
  const char *name; /* kept by the user value */
  int kinds;        /* of values: STRINGS, OBJECTS */
} known;

struct fpg_row_scan { /* the user value: name -> position, from 1 */
  int most, n;
  int *order;     /* the position of the name at each place of the record before */
  known names[];  /* most + 1; the first is none */
};

fpg_row_scan *fpg_check_row_scan(lua_State *L, int idx) { return luaL_checkudata(L, idx, SCAN_MT); }

static int to_count(lua_State *L, int idx) {
  int64_t n;
  luaL_argcheck(L, fpg_to_int64(L, idx, &n) && n >= 0 && n < INT32_MAX, idx, "a count expected");
  return (int)n;
}

/* core.row_scan(most) -> a scan that will know so many names */
static int core_row_scan(lua_State *L) {
  int most = to_count(L, 1);
  size_t room = (size_t)most + 1, size = sizeof(fpg_row_scan) + room * (sizeof(known) + sizeof(int));
  fpg_row_scan *scan = fpg_newuserdata(L, size);
  memset(scan, 0, size);
  scan->most = most;
  scan->order = (int *)(void *)(scan->names + room);
  luaL_setmetatable(L, SCAN_MT);
  lua_createtable(L, 0, most);
  fpg_setuservalue(L, -2);
  return 1;
}

/* scan:add(name): from here on it is known (where there is room for it) */
static int scan_add(lua_State *L) {
  fpg_row_scan *scan = fpg_check_row_scan(L, 1);
  luaL_checktype(L, 2, LUA_TSTRING);
  if (scan->n == scan->most) return 0;
  fpg_getuservalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  if (!lua_isnil(L, -1)) return 0;
  lua_pushvalue(L, 2);
  lua_pushinteger(L, scan->n + 1);
  lua_rawset(L, -4);
  scan->names[++scan->n].name = lua_tostring(L, 2);
  return 0;
}

/* The position of the key below the top of the stack, which is at that place in its record; 0 where it is not known. */
static int find(lua_State *L, fpg_row_scan *scan, int names, int place) {
  if (lua_type(L, -2) != LUA_TSTRING) return 0;
  const char *name = lua_tostring(L, -2);
  int at = place <= scan->most ? scan->order[place] : 0;
  if (at && scan->names[at].name == name) return at;
  lua_pushvalue(L, -2);
  lua_rawget(L, names);
  at = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (at && place <= scan->most) scan->order[place] = at;
  return at;
}

int fpg_scan_record(lua_State *L, fpg_row_scan *scan, int names, int record) {
  int top = lua_gettop(L), place = 0;
  lua_pushnil(L);
  while (lua_next(L, record)) {
    int at = find(L, scan, names, place++), kind = lua_type(L, -1);
    if (!at) {
      lua_settop(L, top);
      return 0;
    }
    if (kind == LUA_TSTRING) scan->names[at].kinds |= STRINGS;
    else if (kind == LUA_TUSERDATA || kind == FPG_TCDATA) scan->names[at].kinds |= OBJECTS;
    lua_pop(L, 1);
  }
  return 1;
}

/* scan:look(list, from, to) -> the position of the first item that is no record all of whose keys are known; to + 1
 * where all are */
static int scan_look(lua_State *L) {
  fpg_row_scan *scan = fpg_check_row_scan(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int i = to_count(L, 3), to = to_count(L, 4);
  lua_settop(L, 2);
  luaL_checkstack(L, 8, "scan");
  fpg_getuservalue(L, 1);
  for (; i <= to; i++) {
    lua_rawgeti(L, 2, i);
    if (!lua_istable(L, 4) || !fpg_scan_record(L, scan, 3, 4)) break;
    lua_settop(L, 3);
  }
  lua_pushinteger(L, i);
  return 1;
}

/* scan:kinds(name) -> whether there were strings for it, whether objects */
static int scan_kinds(lua_State *L) {
  fpg_row_scan *scan = fpg_check_row_scan(L, 1);
  luaL_checktype(L, 2, LUA_TSTRING);
  lua_settop(L, 2);
  fpg_getuservalue(L, 1);
  lua_pushvalue(L, 2);
  lua_rawget(L, 3);
  int kinds = scan->names[lua_tointeger(L, -1)].kinds;
  lua_pushboolean(L, kinds & STRINGS);
  lua_pushboolean(L, kinds & OBJECTS);
  return 2;
}

static const luaL_Reg methods[] = {{"add", scan_add}, {"look", scan_look}, {"kinds", scan_kinds}, {NULL, NULL}};

void fpg_open_row_scan(lua_State *L) {
  luaL_newmetatable(L, SCAN_MT);
  lua_pushliteral(L, SCAN_MT);
  lua_setfield(L, -2, "__name");
  lua_createtable(L, 0, 3);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, core_row_scan);
  lua_setfield(L, -2, "row_scan");
}
