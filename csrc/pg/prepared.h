/* SPDX-License-Identifier: MIT
 *
 * prepared.h: a prepared statement as the server described it.
 *
 * What depends on a statement's shape alone is made once, here: the type of each parameter, the
 * reader of each column, the column names as Lua strings.  The user value of a statement is its
 * shape: { columns = { names }, types = { oids }, index = { name -> position }, typemap = }.
 */
#ifndef FASTPG_STMT_H
#define FASTPG_STMT_H

#include <libpq-fe.h>

#include "typemap.h"

#define FPG_STMT_MT "fastpg.statement"

typedef struct {
  fpg_decode_fn *decode;
  const fpg_type *type;
} fpg_column;

typedef struct fpg_stmt {
  char name[32];    /* on the server; "" is the unnamed statement */
  int nparams, ncols;
  int format;       /* FPG_BINARY, or FPG_TEXT when a column has no binary reader */
  int given;        /* made from a result that is there: its format is what it is */
  int duplicates;   /* two columns have the same name */
  int has_text;     /* the server takes a parameter for text: maybe because it could not tell */
  size_t bulk;      /* bytes of rows that its last result had, where it was a big one */
  int plain;        /* nothing is to be looked at before it is sent and when it is answered (fastpg.pg.prepared) */
  int place, ran;   /* among those that are kept (recent.h), 0: it is not; it was run since then */
  fpg_column *cols;      /* behind params, in the same block; */
  uint32_t *oids;        /* of the parameters, then of the columns: behind cols */
  char *names;           /* of the columns, one behind the other with their zero bytes: behind oids */
  const fpg_typemap *types; /* what the types below belong to; the shape keeps it */
  const fpg_type *params[];
} fpg_stmt;

/* Pushes a statement made from the result of a Describe. */
fpg_stmt *fpg_stmt_new(lua_State *L, const char *name, const PGresult *described);

/* Pushes a statement that reads this result, in whatever format it is. */
fpg_stmt *fpg_stmt_of_result(lua_State *L, const PGresult *res);

/* Whether the result has the columns of the statement: as many, of the same types and names. */
int fpg_stmt_describes(const fpg_stmt *st, const PGresult *res);

/* Pushes a statement of which only the number of parameters is known: each is written as text. */
fpg_stmt *fpg_stmt_undescribed(lua_State *L, int nparams);

/* Pushes a statement whose parameters are of the types in the list of oids at idx, all of them built in; its columns are
 * those of the result, where there is one. */
fpg_stmt *fpg_stmt_known(lua_State *L, const char *name, int idx, const PGresult *res);

/* The first of n arguments, counted from 1, that the server takes for text and that text can't take, as they stand at first …
 * or in the list at that index; 0 where there is none. */
int fpg_stmt_misfit(lua_State *L, const fpg_stmt *st, int list, int first, int n);

fpg_stmt *fpg_check_stmt(lua_State *L, int idx);

#endif
