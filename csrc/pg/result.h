/* SPDX-License-Identifier: MIT
 *
 * result.h: a result that was taken out of its connection, while its rows are made.
 */
#ifndef FASTPG_RESULT_H
#define FASTPG_RESULT_H

#include "conn.h"
#include "rows.h"

/* Owns the result, until its last row is made or until it is collected. */
typedef struct fpg_holder {
  fpg_rows rows;
  int may_block; /* as its connection: to free it may take long */
} fpg_holder;

/* The holder at idx with a result in it; raises without one. */
fpg_holder *fpg_check_holder(lua_State *L, int idx);

/* Pushes a holder of the finished result, which is the connection's no more. */
void fpg_hold_result(lua_State *L, fpg_conn *c);

/* Makes the result of the holder at idx the finished one. */
void fpg_put_result(lua_State *L, fpg_conn *c, int idx);

/* Frees the result. */
void fpg_holder_release(fpg_holder *h);

/* How many of the next rows make a piece where a host must not be held up: at most that many, and those that take about
 * half a millisecond. */
int fpg_rows_of_piece(const fpg_stmt *st, const fpg_rows *rows, int most);

/* Pushes the names of all columns of the statement at that index: the first is at the returned index. */
int fpg_push_names(lua_State *L, int stmt, int ncols);

#endif
