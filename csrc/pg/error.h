/* SPDX-License-Identifier: MIT
 *
 * error.h: what the server or libpq reports, as an error object.
 */
#ifndef FASTPG_ERROR_H
#define FASTPG_ERROR_H

#include <libpq-fe.h>

#include "compat.h"

/* Pushes the error object of a failed result: every diagnostic field of the protocol, `name` from
 * the SQLSTATE, "connection" where there is none (libpq made it) or the connection is lost. */
void fpg_push_result_error(lua_State *L, const PGconn *pg, const PGresult *res);

/* Pushes an error object named "connection" from PQerrorMessage. */
void fpg_push_conn_error(lua_State *L, const PGconn *pg);

/* The name of a field of a report by its code (PG_DIAG_*), or NULL; the code of the n-th, or 0. */
const char *fpg_diag_name(int code);
int fpg_diag_code(size_t n);

#endif
