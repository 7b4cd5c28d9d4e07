/* SPDX-License-Identifier: MIT
 *
 * step.h: the state machine: what comes from the server, taken in without waiting (conn.h tells of it).
 */
#ifndef FASTPG_STEP_H
#define FASTPG_STEP_H

#include "conn.h"

/* Where a step ends. */
typedef enum { FPG_WANT_READ, FPG_WANT_BOTH, FPG_AT_RESULT, FPG_AT_SYNC } fpg_stop;

/* One step: as far as it goes without waiting. */
fpg_stop fpg_step(lua_State *L, fpg_conn *c);

/* Pushes what conn:step gives for it; returns 1. */
int fpg_push_stop(lua_State *L, fpg_stop at);

/* The steps of a single statement.  Pushes nothing where its answer is there, a good one, of the form that it was
 * described with, and there is nothing to tell of the session besides: most answers.  Else what conn:step pushes, where
 * true is for conn:outcome to explain.  (st is NULL for a command by the simple protocol.) */
int fpg_answer(lua_State *L, fpg_conn *c, const fpg_stmt *st);

/* Whether the finished result is other than the statement's description. */
int fpg_result_differs(const fpg_conn *c, const fpg_stmt *st);

/* Whether it is a good one, as the statement's description says, of which nothing has to be told. */
int fpg_result_is_plain(const fpg_conn *c, const fpg_stmt *st);

/* Notes whether a setting is another that the server reports. */
void fpg_conn_note_reports(fpg_conn *c);

#endif
