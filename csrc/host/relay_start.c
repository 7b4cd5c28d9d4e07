/* SPDX-License-Identifier: MIT
 *
 * relay_start.c: starts the network of a cluster with standbys (csrc/relay.c), whose program is in here: it is run from
 * memory, so that nothing but the .so has to be installed.
 */
#include "raise.h"
#include "supervisor.h"

#ifdef __linux__

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* FPG_RELAY is the file's name, by the Makefile. */
__asm__(".section .rodata\nfpg_relay:\n.incbin \"" FPG_RELAY "\"\nfpg_relay_end:\n.byte 0\n.text\n");
extern const char fpg_relay[] __attribute__((visibility("hidden")));
extern const char fpg_relay_end[] __attribute__((visibility("hidden")));

#define PROGRAM_MT "fastpg.relay_program"

static int program_gc(lua_State *L) {
  int *fd = luaL_checkudata(L, 1, PROGRAM_MT);
  if (*fd >= 0) close(*fd);
  *fd = -1;
  return 0;
}

static int write_program(int fd) {
  for (const char *at = fpg_relay; at < fpg_relay_end;) {
    ssize_t n = write(fd, at, (size_t)(fpg_relay_end - at));
    if (n < 0 && errno != EINTR) return -1;
    if (n > 0) at += n;
  }
  return 0;
}

/* core.supervise_relay(users) -> a supervisor of the relay: its orders are in csrc/relay.c.  Raises "cluster" where no
 * program can be run from memory. */
static int supervise_relay(lua_State *L) {
  static char *const argv[] = {"fastpg-relay", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  int *fd = fpg_newuserdata(L, sizeof *fd);
  *fd = -1;
  luaL_setmetatable(L, PROGRAM_MT);
  *fd = memfd_create("fastpg-relay", MFD_CLOEXEC);
  if (*fd < 0 || write_program(*fd) < 0)
    return fpg_raise(L, "cluster", "no memory for the program of its network: %s", strerror(errno));
  fpg_supervise(L, 1, NULL, argv, *fd);
  close(*fd);
  *fd = -1;
  return 1;
}

void fpg_open_relay_start(lua_State *L) {
  luaL_newmetatable(L, PROGRAM_MT);
  lua_pushcfunction(L, program_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_pushcfunction(L, supervise_relay);
  lua_setfield(L, -2, "supervise_relay");
}

#else

void fpg_open_relay_start(lua_State *L) {
  (void)L;
}

#endif
