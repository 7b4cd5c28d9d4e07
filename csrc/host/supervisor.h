/* SPDX-License-Identifier: MIT
 *
 * supervisor.h: a child process on a socket of ours, which ends when that does.
 */
#ifndef FPG_SUPERVISOR_H
#define FPG_SUPERVISOR_H

#include "compat.h"

/* Pushes a supervisor (core.supervise) of the program argv[0], or of the one in the descriptor `program` (-1: none).
 * `users`: the index of the list of users one of whom root becomes; `script`: an entry of the environment, or NULL. */
int fpg_supervise(lua_State *L, int users, const char *script, char *const *argv, int program);

#endif
