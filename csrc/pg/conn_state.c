/* SPDX-License-Identifier: MIT
 *
 * conn_state.c: what a connection tells of itself, and of the statement that has just ended.
 */
#include <poll.h>

#include "clock.h"
#include "conn.h"
#include "datestyle.h"
#include "error.h"
#include "job.h"
#include "number.h"
#include "process.h"
#include "raise.h"

/* ---- of the connection --------------------------------------------------------------------- */

static int conn_fd(lua_State *L) {
  lua_pushinteger(L, PQsocket(fpg_check_conn(L, 1)->pg));
  return 1;
}

/* conn:commits_itself() -> whether what is under way, or was last, is committed by itself: no transaction was open when it
 * was begun, on a server that takes writes.  It may be closed by now. */
static int conn_commits_itself(lua_State *L) {
  const fpg_conn *c = fpg_any_conn(L, 1);
  const char *standby = c->pg ? PQparameterStatus(c->pg, "in_hot_standby") : NULL;
  lua_pushboolean(L, c->outside && !(standby && strcmp(standby, "on") == 0));
  return 1;
}

/* conn:transaction_status() -> "idle", "active", "intrans", "inerror" or "unknown" */
static int conn_transaction_status(lua_State *L) {
  static const char *const names[] = {"idle", "active", "intrans", "inerror", "unknown"};
  fpg_conn *c = fpg_check_conn(L, 1);
  lua_pushstring(L, names[PQtransactionStatus(c->pg)]);
  return 1;
}

static int is_usable(const fpg_conn *c) {
  return c->pg && !c->doubtful && !c->severed && c->owner == fpg_process_id() && PQstatus(c->pg) == CONNECTION_OK;
}

/* conn:usable() -> false when closed, lost, out of step or inherited from another process */
static int conn_usable(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  lua_pushboolean(L, is_usable(c));
  return 1;
}

/* Whether the server has not closed the idle connection, nor said that it is about to (its last words come before the
 * end of the stream); asks the socket, not the server: one system call. */
static int is_alive(fpg_conn *c) {
  struct pollfd p = {PQsocket(c->pg), POLLIN, 0};
  for (int i = 0; i < 100 && PQstatus(c->pg) == CONNECTION_OK; i++) {
    if (PQisBusy(c->pg) || fpg_take_is_on(&c->take) || c->dying || poll(&p, 1, 0) <= 0) break; /* (PQisBusy reads what is there) */
    PQconsumeInput(c->pg);
  }
  return PQstatus(c->pg) == CONNECTION_OK && !c->dying;
}

/* A server that was heard of so many seconds ago is not asked again: a program that runs one statement after the other
 * would pay for a system call each time. */
#define JUST_HEARD 0.0005

/* conn:ready(idle) -> whether the idle connection can be used for a statement: not when it is closed, lost or out of
 * step, nor when the server has closed it, and nil when nothing was heard of it for `idle` seconds: who knows what is
 * left of it on the way */
static int conn_ready(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  double quiet = fpg_clock() - c->heard;
  int usable = is_usable(c) && (quiet < JUST_HEARD || is_alive(c));
  if (usable && quiet >= luaL_checknumber(L, 2)) return 0;
  lua_pushboolean(L, usable);
  return 1;
}

/* conn:rest(): it is idle from here on */
static int conn_rest(lua_State *L) {
  fpg_any_conn(L, 1)->heard = fpg_clock();
  return 0;
}

/* conn:busy() -> true while results are outstanding */
static int conn_busy(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  lua_pushboolean(L, c->pg && (c->slots || c->syncs || c->open_pipeline));
  return 1;
}

/* conn:idle() -> whether it is usable, nothing is under way and no transaction is open */
static int conn_idle(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  lua_pushboolean(L, is_usable(c) && !c->slots && !c->syncs && !c->open_pipeline &&
                         PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF &&
                         PQtransactionStatus(c->pg) == PQTRANS_IDLE);
  return 1;
}

static int conn_info(lua_State *L) {
  fpg_conn *c = fpg_open_conn_at(L, 1);
  lua_createtable(L, 0, 6);
  const struct {
    const char *field, *value;
  } texts[] = {{"host", PQhost(c->pg)},
               {"port", PQport(c->pg)},
               {"user", PQuser(c->pg)},
               {"dbname", PQdb(c->pg)}};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    lua_pushstring(L, texts[i].value);
    lua_setfield(L, -2, texts[i].field);
  }
  lua_pushinteger(L, PQserverVersion(c->pg));
  lua_setfield(L, -2, "server_version");
  lua_pushinteger(L, PQbackendPID(c->pg));
  lua_setfield(L, -2, "pid");
  return 1;
}

/* conn:parameter(name) -> what the server last reported of it, or nil */
static int conn_parameter(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  lua_pushstring(L, PQparameterStatus(c->pg, luaL_checkstring(L, 2)));
  return 1;
}

/* ---- of its results and statements ---------------------------------------------------------- */

/* The order of a DateStyle ("SQL, DMY"). */
static int order_of(lua_State *L, int idx) {
  const char *style = lua_tostring(L, idx);
  return !style ? FPG_ORDER_UNKNOWN : strstr(style, "DMY") ? FPG_ORDER_DAY : FPG_ORDER_MONTH;
}

/* conn:text_style(before, after, zone_changed): the DateStyle before and behind the statement whose result is
 * fetched next, and whether its text may name abbreviations of another TimeZone than that which is reported.
 * (What comes in binary needs nothing of it.) */
static int conn_text_style(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  int before = order_of(L, 2);
  c->date_order = before == order_of(L, 3) ? before : FPG_ORDER_UNKNOWN;
  c->zone_changed = lua_toboolean(L, 4);
  return 0;
}

/* conn:text() -> the first field of the finished result as the text it came as, or nil */
static int conn_text(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  int field = (int)luaL_optinteger(L, 2, 1) - 1;
  if (!c->res || PQresultStatus(c->res) != PGRES_TUPLES_OK || !PQntuples(c->res) || field >= PQnfields(c->res)) return 0;
  lua_pushstring(L, PQgetvalue(c->res, 0, field));
  return 1;
}

/* conn:texts() -> the fields of the one row of the finished result as the texts they came as */
static int conn_texts(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (!c->res || PQresultStatus(c->res) != PGRES_TUPLES_OK || PQntuples(c->res) != 1)
    return fpg_raise(L, "protocol_violation", "one row expected");
  lua_createtable(L, PQnfields(c->res), 0);
  for (int i = 0; i < PQnfields(c->res); i++) {
    lua_pushstring(L, PQgetvalue(c->res, 0, i));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* conn:set_texts(table or nil): the texts of what comes in binary and is read as text only, by the four bytes of its oid
 * and the value: for the result that is read now, until the next statement (codec_composite.c). */
static int conn_set_texts(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  lua_settop(L, 2);
  c->has_texts = lua_istable(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &c->has_texts);
  return 0;
}

/* conn:keep(): puts the finished result aside, which conn:unhold() makes the finished one again */
static int conn_keep(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_clear_rows(c->held.res, c->held.taken, c->may_block);
  c->held = fpg_rows_of(c->res, c->taken);
  c->res = NULL;
  c->taken = NULL;
  return 0;
}

/* conn:make_statement(name) -> the statement of the Describe that has just ended */
static int conn_make_statement(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *name = luaL_checkstring(L, 2);
  if (!c->res) return fpg_raise(L, "connection_busy", "no statement was described");
  if (PQresultStatus(c->res) != PGRES_COMMAND_OK) {
    fpg_push_result_error(L, c->pg, c->res);
    return lua_error(L);
  }
  fpg_stmt_new(L, name, c->res);
  return 1;
}

/* conn:result_statement() -> a statement that reads the finished result, made from its own description */
static int conn_result_statement(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (!c->res) return fpg_raise(L, "connection_busy", "there is no result");
  fpg_stmt_of_result(L, c->res);
  return 1;
}

/* conn:known_statement(name, oids [, of_result]) -> the statement whose parameters are of these types, with the columns of
 * the finished result where that is asked for (conn:send_look_up) */
static int conn_known_statement(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *name = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int of_result = lua_toboolean(L, 4);
  if (of_result && !c->res) return fpg_raise(L, "connection_busy", "there is no result");
  fpg_stmt_known(L, name, 3, of_result ? c->res : NULL);
  return 1;
}

/* conn:was_parsed() -> whether it was not the first of the two things that conn:send_look_up sent that failed */
static int conn_was_parsed(lua_State *L) {
  lua_pushboolean(L, fpg_any_conn(L, 1)->failed_with == 1);
  return 1;
}

/* conn:touch(stmt): counts as used now, so that it is not the next to be evicted */
static int conn_touch(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_recent_use(&c->recent, fpg_check_stmt_of_conn(L, 2)->place);
  return 0;
}

/* conn:keep_statement(stmt) -> its place among those that are kept, as the one used last */
static int conn_keep_statement(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  if (!st->place) st->place = fpg_recent_add(L, &c->recent);
  st->ran = 0;
  lua_pushinteger(L, st->place);
  return 1;
}

/* conn:oldest_statement() -> the place of the one that was used longest ago, nil where none is kept */
static int conn_oldest_statement(lua_State *L) {
  int place = fpg_recent_oldest(&fpg_any_conn(L, 1)->recent);
  if (!place) return 0;
  lua_pushinteger(L, place);
  return 1;
}

/* conn:drop_statement(stmt) -> its place, which is free now; nil where it had none */
static int conn_drop_statement(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  int place = st->place;
  if (!place) return 0;
  fpg_recent_remove(&c->recent, place);
  st->place = 0;
  lua_pushinteger(L, place);
  return 1;
}

/* conn:hits() -> how often a statement ran that was kept and had run before */
static int conn_hits(lua_State *L) {
  fpg_push_int64(L, (int64_t)fpg_any_conn(L, 1)->hits);
  return 1;
}

static const luaL_Reg methods[] = {
    {"fd", conn_fd},
    {"transaction_status", conn_transaction_status},
    {"commits_itself", conn_commits_itself},
    {"usable", conn_usable},
    {"ready", conn_ready},
    {"rest", conn_rest},
    {"busy", conn_busy},
    {"idle", conn_idle},
    {"info", conn_info},
    {"parameter", conn_parameter},
    {"text_style", conn_text_style},
    {"text", conn_text},
    {"texts", conn_texts},
    {"set_texts", conn_set_texts},
    {"keep", conn_keep},
    {"make_statement", conn_make_statement},
    {"result_statement", conn_result_statement},
    {"known_statement", conn_known_statement},
    {"was_parsed", conn_was_parsed},
    {"touch", conn_touch},
    {"keep_statement", conn_keep_statement},
    {"oldest_statement", conn_oldest_statement},
    {"drop_statement", conn_drop_statement},
    {"hits", conn_hits},
    {NULL, NULL},
};

void fpg_open_conn_state(lua_State *L) { fpg_add_conn_methods(L, methods); }
