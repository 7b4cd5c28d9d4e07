/* SPDX-License-Identifier: MIT
 *
 * params.h: the arguments of a statement as libpq takes them, and what codecs know of the session.
 */
#ifndef FASTPG_PARAMS_H
#define FASTPG_PARAMS_H

#include "conn.h"

/* Encodes the arguments; the connection is at index 1 of the stack.  `list` is the index of a table that
 * holds n arguments, or 0 when they are on the stack from `first` on. */
typedef struct {
  const char *const *values;
  const int *lengths, *formats;
  size_t bytes; /* of all of them */
} fpg_args;
fpg_args fpg_encode_args(lua_State *L, fpg_conn *c, const fpg_stmt *st, int list, int first, int n);

/* An argument that was encoded before: a userdata that points at bytes somebody else holds, in a list of arguments only.
 * Those of text have a zero byte behind them. */
typedef struct {
  const char *data;
  size_t len;
  int format;
} fpg_encoded;

/* Pushes one that is empty. */
fpg_encoded *fpg_encoded_new(lua_State *L);

/* What the codecs of a value may know of the session; `zone` lives as long as that. */
fpg_ctx fpg_context(const fpg_conn *c, const fpg_typemap *types, fpg_zone_memo *zone);

/* Pushes the session's TimeZone, "UTC" where it is not known. */
const char *fpg_push_timezone(lua_State *L, const void *c);

#endif
