/* SPDX-License-Identifier: MIT
 *
 * process.c: see process.h.
 */
#include "process.h"

#include <pthread.h>
#include <unistd.h>

#include "compat.h"

/* getpid is a system call each time in today's C libraries, and every method asks: it is kept until
 * a fork.  0 is "not known". */
static _Atomic pid_t process;

static void forget_process(void) { process = 0; }

pid_t fpg_process_id(void) {
  pid_t id = process;
  if (!id) process = id = getpid();
  return id;
}

/* Once per process, not per Lua state: a host that makes a state for each request has many. */
void fpg_open_process(lua_State *L) {
  static _Atomic int watching;
  if (watching) return;
  if (pthread_atfork(NULL, NULL, forget_process)) luaL_error(L, "not enough memory");
  watching = 1;
}
