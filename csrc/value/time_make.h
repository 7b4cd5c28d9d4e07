/* SPDX-License-Identifier: MIT
 *
 * time_make.h: dates, times, timestamps and intervals from text and from tables of fields; the constructors.
 */
#ifndef FASTPG_TIME_MAKE_H
#define FASTPG_TIME_MAKE_H

#include "time_cast.h"

/* Both give what fpg_time_of_value gives. */
int fpg_time_of_text(const char *s, size_t len, int kind, const fpg_tz *zone, fpg_any *out);
int fpg_time_of_table(lua_State *L, int idx, int kind, const fpg_tz *zone, fpg_any *out);

/* Pushes the names of a kind's fields: a table whose keys they are, and a text, which is returned. */
const char *fpg_time_field_names(lua_State *L, int kind);

/* Pushes the value of the kind that the text at idx is, or raises why it is none; 0 where there is no text. */
int fpg_time_coerce(lua_State *L, int idx, int kind, int text_too);

/* The constructors, and fastpg.now: lua_CFunctions. */
int fpg_make_date(lua_State *L);
int fpg_make_time(lua_State *L);
int fpg_make_timetz(lua_State *L);
int fpg_make_timestamp(lua_State *L);
int fpg_make_timestamptz(lua_State *L);
int fpg_make_interval(lua_State *L);
int fpg_now(lua_State *L);

#endif
