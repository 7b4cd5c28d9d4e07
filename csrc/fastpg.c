/* SPDX-License-Identifier: MIT
 *
 * fastpg.c: luaopen_fastpg_core, which opens every part of the core into one table.
 */
#include <stdlib.h>

#include "compat.h"

/* Each is in the file that is named so.  It makes the metatables that the file needs, and adds to the core table, on
 * top of the stack, what it offers.  The order matters where one adds methods to another's object (fpg_add_methods). */
#define PARTS(part)                                                                                            \
  part(raise) part(buffer) part(number) part(list_keys) part(printable) part(random_text) part(surface) part(compiled) \
  part(value_numeric) part(value_time) part(value_range)                                                       \
  part(json_mark) part(json)                                                                                   \
  part(block) part(directory) part(supervisor) part(relay_start) part(poller) part(gate) part(nginx) part(nginx_events)          \
  part(quote) part(placeholders) part(fragment) part(statements) part(moment) part(set_config) part(reads) part(calls) \
  part(array_info) part(codec_geo) part(codec_hstore) part(typemap)                                            \
  part(error) part(prepared) part(process) part(conn) part(conn_state) part(step) part(send) part(connect) part(notice) \
  part(result) part(reader) part(flat) part(heavy) part(batch) part(trip) part(take) part(row_scan) part(copy_writer) part(copy) \
  part(notify) part(job) part(cancel)                                                                                       \
  part(relation) part(sql_builder) part(bulk_rows)                                                             \
  part(testing)

#define DECLARE(name) void fpg_open_##name(lua_State *L);
PARTS(DECLARE)

/* Found by the Lua loader in a .so that does not load, to say which Lua it was built for. */
__attribute__((used)) static const char abi_marker[] = "fastpg-abi:" FPG_ABI ";";

__attribute__((visibility("default"))) int luaopen_fastpg_core(lua_State *L);

/* glibc gives the end of the heap back to the system after each result of some 100 kB and more, and faults it in again for
 * the next, which can cost more than all decoding.  How much it keeps is the program's to set; by itself it keeps twice
 * the largest block that was ever given back to the system, so it is shown one of 1 MB. */
static void show_a_large_block(void) {
#ifdef __GLIBC__
  void *volatile block = malloc(1 << 20);
  free(block);
#endif
}

int luaopen_fastpg_core(lua_State *L) {
  show_a_large_block();
  lua_newtable(L);
  lua_pushliteral(L, FPG_ABI);
  lua_setfield(L, -2, "abi");
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
#define OPEN(name) fpg_open_##name(L);
  PARTS(OPEN)
  return 1;
}
