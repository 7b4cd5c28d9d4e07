/* SPDX-License-Identifier: MIT
 *
 * block.c: waiting where nobody else could run meanwhile (lua/fastpg/host/wait/block.lua), and the clock.
 */
#include <poll.h>

#include "clock.h"
#include "number.h"

/* core.poll(fd, "r" / "w" / "rw", seconds or nil) -> the ready mode, or nil after that time */
static int core_poll(lua_State *L) {
  int64_t fd = -1;
  if (!fpg_to_int64(L, 1, &fd)) luaL_argerror(L, 1, "file descriptor expected");
  const char *mode = luaL_checkstring(L, 2);
  int timeout = lua_isnoneornil(L, 3) ? -1 : fpg_milliseconds(fpg_check_seconds(L, 3));
  struct pollfd p = {(int)fd, 0, 0};
  for (; *mode; mode++) p.events = (short)(p.events | (*mode == 'r' ? POLLIN : POLLOUT));
  int n = poll(&p, fd >= 0 ? 1 : 0, timeout);
  if (n <= 0) return 0; /* nothing, or EINTR: the caller looks again */
  int r = (p.revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) != 0, w = (p.revents & POLLOUT) != 0;
  lua_pushstring(L, r && w ? "rw" : r ? "r" : "w");
  return 1;
}

/* core.clock() -> seconds of a clock that only goes forward */
static int core_clock(lua_State *L) {
  lua_pushnumber(L, (lua_Number)fpg_clock());
  return 1;
}

/* core.cpu_clock() -> the CPU time of the calling thread in seconds: what a turn of a loop costs, whoever else is busy */
static int core_cpu_clock(lua_State *L) {
  lua_pushnumber(L, (lua_Number)fpg_cpu_clock());
  return 1;
}

void fpg_open_block(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"poll", core_poll}, {"clock", core_clock}, {"cpu_clock", core_cpu_clock}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
