/* SPDX-License-Identifier: MIT
 *
 * job.h: threads for the few things that libpq and the C library can only do blocking.
 */
#ifndef FASTPG_JOB_H
#define FASTPG_JOB_H

#include <libpq-fe.h>

#include "compat.h"
#include "taken.h"

/* Sends the cancel request from a thread, and frees it; nobody waits for it.  NULL is no request. */
void fpg_cancel_later(PGcancel *cancel);

/* Frees a result, and its rows where they were taken: big ones in a thread, where the caller may not be held up (`at_once`: it
 * may). */
void fpg_clear_rows(PGresult *res, fpg_taken *taken, int at_once);

/* Pushes a job that asks the server to stop what it does for the connection: its result is whether that was
 * asked (not whether anything was stopped). */
void fpg_push_cancel_job(lua_State *L, PGconn *pg);

#endif
