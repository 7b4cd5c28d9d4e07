/* SPDX-License-Identifier: MIT
 *
 * step.c: see step.h.
 *
 * PostgreSQL manual: "Asynchronous Command Processing", "Pipeline Mode".
 */
#include "step.h"

#include <poll.h>

#include "clock.h"
#include "copy_end.h"
#include "raise.h"
#include "take.h"

static fpg_stop want(int writing) { return writing ? FPG_WANT_BOTH : FPG_WANT_READ; }

/* What a command tag says about the session: tags are in the manual under CommandComplete. */
static void note_events(fpg_conn *c, const PGresult *res) {
  static const struct {
    const char *tag;
    int event;
  } tags[] = {{"CREATE ", FPG_EVENT_DDL},       {"ALTER ", FPG_EVENT_DDL},
              {"DROP ", FPG_EVENT_DDL},         {"IMPORT ", FPG_EVENT_DDL}, {"DISCARD TEMP", FPG_EVENT_DDL},
              {"DISCARD ALL", FPG_EVENT_DISCARD | FPG_EVENT_DDL | FPG_EVENT_UNLISTEN},
              {"DEALLOCATE ALL", FPG_EVENT_DISCARD}, {"ROLLBACK", FPG_EVENT_ROLLBACK | FPG_EVENT_SET},
              {"COMMIT", FPG_EVENT_SET | FPG_EVENT_COMMIT},
              {"PREPARE TRANSACTION", FPG_EVENT_SET | FPG_EVENT_COMMIT},
              {"GRANT", FPG_EVENT_RIGHTS},      {"REVOKE", FPG_EVENT_RIGHTS},
              {"SET", FPG_EVENT_SET},           {"RESET", FPG_EVENT_SET},
              {"DISCARD", FPG_EVENT_SET},       {"UNLISTEN", FPG_EVENT_UNLISTEN},
              {"DO", FPG_EVENT_SET}}; /* its text says what it may have done */
  if (PQresultStatus(res) != PGRES_COMMAND_OK) return;
  const char *tag = PQcmdStatus((PGresult *)(uintptr_t)res);
  /* CREATE TABLE AS, SELECT INTO: a SELECT that gives no rows */
  if (strncmp(tag, "SELECT ", 7) == 0) c->events |= FPG_EVENT_DDL;
  for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
    if (*tag == *tags[i].tag && strncmp(tag, tags[i].tag, strlen(tags[i].tag)) == 0) c->events |= tags[i].event;
}

/* What the server reports of the settings that a plan was made with (fastpg.pg.session), as one number.  A statement pays
 * for this: the search_path is no more looked for where no server reports it, and the encoding has a call of its own. */
static uint64_t hash_reports(const PGconn *pg) {
  static const char *const names[] = {"TimeZone", "standard_conforming_strings", "session_authorization", "is_superuser",
                                      "IntervalStyle", "DateStyle", "search_path"};
  size_t n = sizeof names / sizeof names[0];
  if (PQserverVersion(pg) < 180000) n--;
  uint64_t h = UINT64_C(14695981039346656037) ^ (unsigned)PQclientEncoding(pg);
  for (size_t i = 0; i < n; i++) {
    const char *p = PQparameterStatus(pg, names[i]);
    for (; p && *p; p++) h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
    h = (h ^ 256) * UINT64_C(1099511628211);
  }
  return h;
}

void fpg_conn_note_reports(fpg_conn *c) {
  if (c->slots || c->syncs) return; /* they come at the end */
  uint64_t now = hash_reports(c->pg);
  if (now != c->reports) c->events |= FPG_EVENT_REPORT;
  c->reports = now;
}

/* The rows of a statement alone, or why there are none. */
static void keep_taken(lua_State *L, fpg_conn *c, PGresult *res) {
  fpg_rows all = fpg_take_result(L, c, res);
  fpg_forget_result(c);
  c->res = all.res;
  c->taken = all.taken;
}

/* The first error stays; else the newest result. */
static void keep_result(lua_State *L, fpg_conn *c, PGresult *res) {
  c->answered = 1;
  if (c->take.at) {
    keep_taken(L, c, res);
    return;
  }
  note_events(c, res);
  if (c->res && !c->each && PQresultStatus(c->res) == PGRES_FATAL_ERROR) {
    PQclear(res);
    return;
  }
  if (PQresultStatus(res) == PGRES_FATAL_ERROR) c->failed_with = c->slots;
  fpg_forget_result(c);
  c->res = res;
}

/* COPY through a plain statement (or one that was abandoned half-way) would never end: the server is
 * told that no rows come, and what it sends is dropped.  `outcome` reports the refusal. */
static void refuse_copy(fpg_conn *c, ExecStatusType status) {
  c->refused = 1;
  if (!c->simple) c->doubtful = 1; /* (fastpg sends none that way: core.copy_direction) */
  if (status == PGRES_COPY_OUT)
    c->draining = 1;
  else
    PQputCopyEnd(c->pg, "COPY FROM STDIN can't run as a plain statement");
}

/* Drops the rows of a COPY TO STDOUT that are there; true when there will be no more. */
static int drain_copy(fpg_conn *c) {
  char *row;
  int n = 0;
  for (int look = 0; look < 2; look++) {
    while ((n = PQgetCopyData(c->pg, &row, 1)) > 0) PQfreemem(row);
    if (n < 0 || (look == 0 && !PQconsumeInput(c->pg))) break;
  }
  c->draining = n == 0 && PQstatus(c->pg) == CONNECTION_OK;
  return !c->draining;
}

/* The last result of a connection whose socket is gone.  Where libpq has none it says once more that there
 * is nothing to read from ("invalid socket"), behind the reason: the reason alone is told. */
static PGresult *last_result(PGconn *pg) {
  PGresult *reason = PQmakeEmptyPGresult(pg, PGRES_FATAL_ERROR), *res = PQgetResult(pg);
  int told = reason && *PQresultErrorMessage(reason);
  int empty = !res || (PQresultStatus(res) == PGRES_FATAL_ERROR && !PQresultErrorField(res, PG_DIAG_SQLSTATE));
  if (res && !(told && empty)) {
    PQclear(reason);
    return res;
  }
  PQclear(res);
  return reason;
}

/* Nothing more will come: the socket is gone. */
static fpg_stop lost(lua_State *L, fpg_conn *c) {
  c->slots = c->syncs = 0;
  c->streaming = c->open_pipeline = c->queueing = c->draining = c->copy = 0;
  fpg_take_forget(&c->take);
  if (!c->res || PQresultStatus(c->res) != PGRES_FATAL_ERROR) {
    fpg_forget_result(c);
    c->res = last_result(c->pg);
    if (!c->res) luaL_error(L, "not enough memory");
  }
  return FPG_AT_RESULT;
}

/* A statement without an answer: another one was given it. */
static fpg_stop out_of_step(lua_State *L, fpg_conn *c) {
  c->doubtful = 1;
  fpg_take_forget(&c->take);
  c->slots = c->syncs = 0;
  c->streaming = c->open_pipeline = c->queueing = c->draining = c->copy = 0;
  fpg_raise(L, "connection", FPG_OUT_OF_STEP);
  return FPG_AT_RESULT;
}

/* The rows that are taken off the socket: 1 where libpq has the next word, else where the step ends. */
static int take(lua_State *L, fpg_conn *c, fpg_stop *at) {
  if (c->streaming) fpg_forget_result(c); /* who asks for more has done with the piece before */
  int over = fpg_take_step(L, c);
  if (c->streaming && fpg_take_piece(L, c)) {
    *at = FPG_AT_RESULT;
    return 0;
  }
  *at = FPG_WANT_READ;
  return over;
}

fpg_stop fpg_step(lua_State *L, fpg_conn *c) {
  while (c->slots || c->syncs) {
    int unsent = PQflush(c->pg);
    if (c->take.at == FPG_TAKE_HEAD && unsent) fpg_take_forget(&c->take); /* libpq reads, where it can't send */
    if (fpg_take_is_on(&c->take) && !c->fresh) {
      fpg_stop at;
      if (!take(L, c, &at)) return at;
    }
    if (c->draining && !drain_copy(c)) return want(unsent > 0);
    if (PQisBusy(c->pg)) {
      if (c->fresh) { /* just sent: no answer can be there, spare the system call */
        c->fresh = 0;
        return want(unsent > 0);
      }
      if (c->copy == FPG_COPY_ASKED) fpg_look_for_end(c);
      if (!PQconsumeInput(c->pg) && PQstatus(c->pg) == CONNECTION_BAD) return lost(L, c);
      if (PQisBusy(c->pg)) return want(unsent > 0);
    }
    PGresult *res = PQgetResult(c->pg);
    if (!res) {
      if (PQstatus(c->pg) == CONNECTION_BAD) return lost(L, c);
      if (c->slots) {
        if (!c->answered) return out_of_step(L, c);
        c->slots--;
        c->answered = c->streaming = 0;
        if (c->each && c->res) return FPG_AT_RESULT;
      } else if (c->answered) { /* the Sync itself failed, by a deferred constraint: its own answer follows */
        c->answered = 0;
        if (c->each) return FPG_AT_RESULT;
      } else {
        return lost(L, c); /* a Sync is owed and libpq knows of none: the two are out of step */
      }
      continue;
    }
    ExecStatusType status = PQresultStatus(res);
    switch (status) {
      case PGRES_PIPELINE_SYNC:
        PQclear(res);
        if (--c->syncs == 0 && c->slots == 0) PQexitPipelineMode(c->pg);
        if (c->each) return FPG_AT_SYNC;
        break;
      case PGRES_COPY_IN:
      case PGRES_COPY_OUT:
      case PGRES_COPY_BOTH:
        PQclear(res);
        if (c->copy == FPG_COPY_ASKED && status != PGRES_COPY_BOTH) {
          c->copy = status == PGRES_COPY_IN ? FPG_COPY_IN : FPG_COPY_OUT;
          return FPG_AT_RESULT;
        }
        c->copy = FPG_COPY_NONE;
        refuse_copy(c, status);
        break;
      case PGRES_SINGLE_TUPLE:
        fpg_forget_result(c);
        c->res = res;
        return FPG_AT_RESULT;
      default:
        keep_result(L, c, res);
        if (c->parts) return FPG_AT_RESULT;
    }
  }
  c->heard = fpg_clock();
  return FPG_AT_RESULT;
}

int fpg_push_stop(lua_State *L, fpg_stop at) {
  switch (at) {
    case FPG_WANT_READ: lua_pushliteral(L, "r"); break;
    case FPG_WANT_BOTH: lua_pushliteral(L, "rw"); break;
    case FPG_AT_SYNC: lua_pushliteral(L, "sync"); break;
    default: lua_pushboolean(L, 1);
  }
  return 1;
}

/* conn:step() -> "r" or "rw" to wait for the socket; true when a result is ready or nothing
 * is outstanding any more; "sync" where a pipeline reached a Sync */
static int conn_step(lua_State *L) {
  return fpg_push_stop(L, fpg_step(L, fpg_check_conn(L, 1)));
}

/* Waits for the socket, where nobody else could run meanwhile; 0 where a signal came, which is Lua's to look at. */
static int may_wait(const fpg_conn *c, fpg_stop at) {
  if (!c->may_block || at > FPG_WANT_BOTH) return 0;
  struct pollfd p = {PQsocket(c->pg), (short)(at == FPG_WANT_BOTH ? POLLIN | POLLOUT : POLLIN), 0};
  return poll(&p, 1, -1) > 0;
}

/* Whether what came is not what the statement was described with: FETCH, EXECUTE and their like give what their cursor
 * or statement gives by now. */
int fpg_result_differs(const fpg_conn *c, const fpg_stmt *st) {
  ExecStatusType status = c->res ? PQresultStatus(c->res) : PGRES_FATAL_ERROR;
  int has_rows = status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE || status == PGRES_COMMAND_OK;
  return has_rows && !fpg_stmt_describes(st, c->res);
}

int fpg_result_is_plain(const fpg_conn *c, const fpg_stmt *st) {
  ExecStatusType status = c->res ? PQresultStatus(c->res) : PGRES_FATAL_ERROR;
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) return 0;
  return !c->events && !c->refused && !fpg_result_differs(c, st);
}

int fpg_answer(lua_State *L, fpg_conn *c, const fpg_stmt *st) {
  fpg_stop at = fpg_step(L, c);
  while (may_wait(c, at)) at = fpg_step(L, c);
  if (at == FPG_AT_RESULT && c->res && !c->refused) {
    ExecStatusType status = PQresultStatus(c->res);
    fpg_conn_note_reports(c);
    if ((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) && !c->events && !(st && fpg_result_differs(c, st)))
      return 0;
  }
  return fpg_push_stop(L, at);
}

/* conn:answer([stmt]): further steps of what conn:ask and conn:command have begun; results as theirs */
static int conn_answer(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  return fpg_answer(L, c, lua_isnoneornil(L, 2) ? NULL : fpg_check_stmt_of_conn(L, 2));
}

static const luaL_Reg methods[] = {{"step", conn_step}, {"answer", conn_answer}, {NULL, NULL}};

void fpg_open_step(lua_State *L) { fpg_add_conn_methods(L, methods); }
