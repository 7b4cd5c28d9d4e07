/* SPDX-License-Identifier: MIT
 *
 * testing.h: see testing.c.
 */
#ifndef FASTPG_TESTING_H
#define FASTPG_TESTING_H

#include "lx.h"

/* Adds test_decode, test_encode and test_lex to the core table, in a build with -DFPG_TESTING. */
void fpg_open_testing(lua_State *L);

#endif
