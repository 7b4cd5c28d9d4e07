/* SPDX-License-Identifier: MIT
 * STUB of branch json: goes when branch values lands. */
#ifndef FASTPG_VALUE_H
#define FASTPG_VALUE_H
#include "lx.h"
enum { FPG_V_NUMERIC = 1, FPG_V_TIMESTAMP, FPG_V_TIMESTAMPTZ, FPG_V_OTHER };
void fpg_push_numeric_text(lua_State *L, const char *s, size_t len);
int fpg_value_text(lua_State *L, int idx, fpg_buf *out);
void fpg_open_value_stub(lua_State *L);
#endif
