/* SPDX-License-Identifier: MIT
 *
 * relation.h: what the catalog knows of one table or view, in the form that building SQL needs.
 *
 * Its user value is a table with everything that is a Lua string, so that a column's name is a key
 * ready to be looked up:
 *
 *   [1..n] = column names     quoted = { "\"name\"", … }    index = { name -> position }
 *   sql = { signature -> { SQL text, columns of its arguments } }, bounded                 qualified = "\"schema\".\"table\""
 */
#ifndef FASTPG_RELATION_H
#define FASTPG_RELATION_H

#include "compat.h"

#define FPG_REL_MT "fastpg.relation"

enum {
  FPG_COL_ARRAY = 1,     /* the column's type is an array */
  FPG_COL_JSON = 2,      /* json or jsonb */
  FPG_COL_GENERATED = 4, /* GENERATED ALWAYS AS (…) STORED */
  FPG_COL_ALWAYS = 8     /* GENERATED ALWAYS AS IDENTITY */
};

typedef struct fpg_rel {
  int ncols, npk;
  int ntexts; /* kept in sql */
  int *pk; /* positions of the key's columns, from 1, in the key's own order; behind flags */
  unsigned char flags[];
} fpg_rel;

fpg_rel *fpg_check_rel(lua_State *L, int idx);

/* Pushes the user value, and `quoted` of it: the two indexes are returned. */
typedef struct {
  int names, quoted;
} fpg_rel_names;
fpg_rel_names fpg_rel_push(lua_State *L, int idx);

#endif
