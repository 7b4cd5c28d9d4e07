/* SPDX-License-Identifier: MIT
 *
 * fastpg.c: luaopen_fastpg_core, which opens every part of the core into one table.
 */
#include "codec_geo.h"
#include "codec_hstore.h"
#include "conn.h"
#include "error.h"
#include "helper.h"
#include "json.h"
#include "lx.h"
#include "nginx.h"
#include "relation.h"
#include "sqltext.h"
#include "stmt.h"
#include "testing.h"
#include "typemap.h"
#include "value.h"

void fpg_open_supervisor(lua_State *L);
void fpg_open_loop(lua_State *L);
void fpg_open_gate(lua_State *L);

/* Found by the Lua loader in a .so that does not load, to say which Lua it was built for. */
__attribute__((used)) static const char abi_marker[] = "fastpg-abi:" FPG_ABI ";";

__attribute__((visibility("default"))) int luaopen_fastpg_core(lua_State *L);

int luaopen_fastpg_core(lua_State *L) {
  fpg_open_lx(L);
  lua_newtable(L);
  lua_pushliteral(L, FPG_ABI);
  lua_setfield(L, -2, "abi");
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  fpg_open_texts(L);
  fpg_open_surface(L);
  fpg_open_supervisor(L);
  fpg_open_loop(L);
  fpg_open_gate(L);
  fpg_open_sqltext(L);
  fpg_open_statements(L);
  fpg_open_value(L);
  fpg_open_json(L);
  fpg_open_error(L);
  fpg_open_array(L);
  fpg_open_geo(L);
  fpg_open_hstore(L);
  fpg_open_typemap(L);
  fpg_open_stmt(L);
  fpg_open_conn(L);
  fpg_open_conninfo(L);
  fpg_open_helper(L);
  fpg_open_nginx(L);
  fpg_open_nginx_events(L);
  fpg_open_relation(L);
  fpg_open_sql(L);
  fpg_open_testing(L);
  return 1;
}
