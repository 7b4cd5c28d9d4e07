/* SPDX-License-Identifier: MIT
 *
 * conn.c: the connection's state machine over libpq's non-blocking calls.  See conn.h.
 *
 * PostgreSQL manual: "Asynchronous Command Processing", "Pipeline Mode".
 */
#include "conn.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/random.h> /* getentropy, on macOS */
#include <unistd.h>

#include "be.h"
#include "clock.h"
#include "datestyle.h"
#include "error.h"
#include "job.h"
#include "nginx.h"
#include "number.h"
#include "raise.h"
#include "udata.h"

/* ---- which process ------------------------------------------------------------------------ */

/* getpid is a system call each time in today's C libraries, and every method asks: it is kept until
 * a fork.  0 is "not known". */
static _Atomic pid_t process;

static void forget_process(void) { process = 0; }

pid_t fpg_process_id(void) {
  pid_t id = process;
  if (!id) process = id = getpid();
  return id;
}

/* Once per process, not per Lua state: a host that makes a state for each request has many. */
static void watch_forks(lua_State *L) {
  static _Atomic int watching;
  if (watching) return;
  if (pthread_atfork(NULL, NULL, forget_process)) luaL_error(L, "not enough memory");
  watching = 1;
}

/* ---- one connection ----------------------------------------------------------------------- */

static void forget_result(fpg_conn *c) {
  PQclear(c->res);
  c->res = NULL;
}

/* A child process shares the socket with its parent: PQfinish would say goodbye on it.  So it gets a socket
 * that leads nowhere in its place.  Where no descriptor is free for that, or none can be had, the child only
 * lets go of the parent's, and libpq's memory is never given back: 0, PQfinish must not be called. */
static int drop_inherited(fpg_conn *c) {
  int fd = PQsocket(c->pg);
  if (fd < 0) return 1;
  int nowhere = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), safe = nowhere >= 0 && dup2(nowhere, fd) >= 0;
  if (nowhere >= 0) close(nowhere);
  if (!safe) close(fd);
  return safe;
}

/* The server goes on with a statement until it next writes to the client, which may be hours later. */
static void stop_server(fpg_conn *c) {
  if (c->connected && !c->canceled && (c->slots || c->syncs) && PQstatus(c->pg) == CONNECTION_OK)
    fpg_cancel_later(PQgetCancel(c->pg));
}

static void leave_list(fpg_conn *c) {
  if (!c->link) return;
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  c->link = NULL;
}

static void conn_finish(fpg_conn *c) {
  leave_list(c);
  if (!c->pg) return;
  forget_result(c);
  PQclear(c->held);
  c->held = NULL;
  PQfreemem(c->copy_row);
  c->copy_row = NULL;
  fpg_nginx_closing(PQsocket(c->pg));
  int safe = 1;
  if (c->owner == fpg_process_id())
    stop_server(c);
  else
    safe = drop_inherited(c);
  if (safe) PQfinish(c->pg);
  c->pg = NULL;
}

/* ---- all of a Lua state's ----------------------------------------------------------------- */

/* While a state is closed, a finalizer may open a connection whose own finalizer Lua does not call any more.
 * So all open ones are in a list, whose owner was there first and is finalized after all that came later. */
typedef struct {
  fpg_conn *first;
  int closed;
} conn_list;

static const char list_key = 0;

void fpg_conn_enlist(lua_State *L, fpg_conn *c) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
  conn_list *list = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (list->closed) fpg_raise(L, "closed", "the Lua state is being closed: no connection is opened any more");
  c->next = list->first;
  c->link = &list->first;
  if (c->next) c->next->link = &c->next;
  list->first = c;
}

static int list_gc(lua_State *L) {
  conn_list *list = lua_touserdata(L, 1);
  list->closed = 1;
  while (list->first) {
    fpg_conn *c = list->first;
    conn_finish(c);
    if (c->buf) fpg_buf_free(L, c->buf);
    if (c->argv) fpg_buf_free(L, c->argv);
  }
  return 0;
}

static void make_list(lua_State *L) {
  conn_list *list = fpg_newuserdata(L, sizeof *list);
  memset(list, 0, sizeof *list);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, list_gc);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
}

/* ---- using one ---------------------------------------------------------------------------- */

static fpg_conn *any_conn(lua_State *L, int idx) {
  fpg_conn *c = fpg_known_udata(L, idx, FPG_CONN_UPVALUE);
  return c ? c : luaL_checkudata(L, idx, FPG_CONN_MT);
}

static fpg_conn *get_conn(lua_State *L, int idx) {
  fpg_conn *c = any_conn(L, idx);
  if (!c->pg) fpg_raise(L, "closed", "the connection is closed");
  return c;
}

fpg_conn *fpg_check_conn(lua_State *L, int idx) {
  fpg_conn *c = get_conn(L, idx);
  if (c->owner != fpg_process_id())
    fpg_raise(L, "connection", "the connection belongs to another process (it was open at fork)");
  return c;
}

fpg_stmt *fpg_check_stmt_of_conn(lua_State *L, int idx) {
  fpg_stmt *st = fpg_known_udata(L, idx, FPG_STMT_UPVALUE);
  return st ? st : luaL_checkudata(L, idx, FPG_STMT_MT);
}

void fpg_add_conn_methods(lua_State *L, const luaL_Reg *list) {
  luaL_getmetatable(L, FPG_CONN_MT);
  lua_getfield(L, -1, "__index");
  lua_pushvalue(L, -2);
  luaL_getmetatable(L, FPG_STMT_MT);
  luaL_setfuncs(L, list, FPG_CONN_UPVALUES);
  lua_pop(L, 2);
}

/* After a LISTEN of the user's libpq would keep them all. */
static void drop_notifications(fpg_conn *c) {
  for (PGnotify *n; (n = PQnotifies(c->pg)) != NULL;) PQfreemem(n);
}

static const char OUT_OF_STEP[] =
    "the server's answers are out of step with what was asked: the connection can't be used any more";

void fpg_conn_begin(lua_State *L, fpg_conn *c) {
  if (c->slots || c->syncs || c->queueing)
    fpg_raise(L, "connection_busy", c->streaming
                  ? "a db:each is being read on this connection: use a transaction around both, or db:q"
              : c->copy ? "a COPY is under way on this connection"
                        : "another statement is under way on this connection");
  if (c->doubtful) fpg_raise(L, "connection", OUT_OF_STEP);
  forget_result(c);
  c->refused = c->copy = c->canceled = c->simple = c->answered = c->has_texts = 0;
  if (!c->listening) drop_notifications(c);
}

/* ---- stepping ----------------------------------------------------------------------------- */

/* Where a step ends. */
typedef enum { WANT_READ, WANT_BOTH, AT_RESULT, AT_SYNC } stop;

static stop want(int writing) { return writing ? WANT_BOTH : WANT_READ; }

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
    if (strncmp(tag, tags[i].tag, strlen(tags[i].tag)) == 0) c->events |= tags[i].event;
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

/* The first error stays; else the newest result. */
static void keep_result(fpg_conn *c, PGresult *res) {
  note_events(c, res);
  c->answered = 1;
  if (c->res && !c->each && PQresultStatus(c->res) == PGRES_FATAL_ERROR) {
    PQclear(res);
    return;
  }
  forget_result(c);
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
static stop lost(lua_State *L, fpg_conn *c) {
  c->slots = c->syncs = 0;
  c->streaming = c->open_pipeline = c->queueing = c->draining = c->copy = 0;
  if (!c->res || PQresultStatus(c->res) != PGRES_FATAL_ERROR) {
    forget_result(c);
    c->res = last_result(c->pg);
    if (!c->res) luaL_error(L, "not enough memory");
  }
  return AT_RESULT;
}

/* A statement without an answer: another one was given it. */
static stop out_of_step(lua_State *L, fpg_conn *c) {
  c->doubtful = 1;
  c->slots = c->syncs = 0;
  c->streaming = c->open_pipeline = c->queueing = c->draining = c->copy = 0;
  fpg_raise(L, "connection", OUT_OF_STEP);
  return AT_RESULT;
}

static stop step(lua_State *L, fpg_conn *c) {
  while (c->slots || c->syncs) {
    int unsent = PQflush(c->pg);
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
        if (c->each && c->res) return AT_RESULT;
      } else if (c->answered) { /* the Sync itself failed, by a deferred constraint: its own answer follows */
        c->answered = 0;
        if (c->each) return AT_RESULT;
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
        if (c->each) return AT_SYNC;
        break;
      case PGRES_COPY_IN:
      case PGRES_COPY_OUT:
      case PGRES_COPY_BOTH:
        PQclear(res);
        if (c->copy == FPG_COPY_ASKED && status != PGRES_COPY_BOTH) {
          c->copy = status == PGRES_COPY_IN ? FPG_COPY_IN : FPG_COPY_OUT;
          return AT_RESULT;
        }
        c->copy = FPG_COPY_NONE;
        refuse_copy(c, status);
        break;
      case PGRES_SINGLE_TUPLE:
        forget_result(c);
        c->res = res;
        return AT_RESULT;
      default: keep_result(c, res);
    }
  }
  c->heard = fpg_clock();
  return AT_RESULT;
}

static int push_stop(lua_State *L, stop at) {
  switch (at) {
    case WANT_READ: lua_pushliteral(L, "r"); break;
    case WANT_BOTH: lua_pushliteral(L, "rw"); break;
    case AT_SYNC: lua_pushliteral(L, "sync"); break;
    default: lua_pushboolean(L, 1);
  }
  return 1;
}

/* conn:step() -> "r" or "rw" to wait for the socket; true when a result is ready or nothing
 * is outstanding any more; "sync" where a pipeline reached a Sync */
static int conn_step(lua_State *L) {
  return push_stop(L, step(L, fpg_check_conn(L, 1)));
}

/* Waits for the socket, where nobody else could run meanwhile; 0 where a signal came, which is Lua's to look at. */
static int may_wait(const fpg_conn *c, stop at) {
  if (!c->may_block || at > WANT_BOTH) return 0;
  struct pollfd p = {PQsocket(c->pg), (short)(at == WANT_BOTH ? POLLIN | POLLOUT : POLLIN), 0};
  return poll(&p, 1, -1) > 0;
}

/* The steps of a single statement.  Pushes nothing where its answer is there, a good one, of the form that it was
 * described with, and there is nothing to tell of the session besides: most answers.  Else what conn:step pushes, where
 * true is for conn:outcome to explain.  (st is NULL for a command by the simple protocol.) */
static int answer(lua_State *L, fpg_conn *c, const fpg_stmt *st) {
  stop at = step(L, c);
  while (may_wait(c, at)) at = step(L, c);
  if (at == AT_RESULT && c->res && !c->refused) {
    ExecStatusType status = PQresultStatus(c->res);
    fpg_conn_note_reports(c);
    if ((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) && !c->events && !(st && fpg_result_differs(c, st)))
      return 0;
  }
  return push_stop(L, at);
}

/* conn:answer([stmt]): further steps of what conn:ask and conn:command have begun; results as theirs */
static int conn_answer(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  return answer(L, c, lua_isnoneornil(L, 2) ? NULL : fpg_check_stmt_of_conn(L, 2));
}

/* ---- sending ------------------------------------------------------------------------------ */

static void check_sent(lua_State *L, fpg_conn *c, int ok) {
  if (ok) return;
  fpg_push_conn_error(L, c->pg);
  lua_error(L);
}

/* The first statement of a pipeline would inherit single-row mode from the one before (libpq 15). A
 * call outside the pipeline ends that mode, and one without a text sends nothing. */
static void leave_single_row(fpg_conn *c) {
  if (c->single_row) PQsendQueryParams(c->pg, NULL, 0, NULL, NULL, NULL, NULL, FPG_TEXT);
  c->single_row = 0;
}

static void enter_pipeline(lua_State *L, fpg_conn *c) {
  if (PQpipelineStatus(c->pg) != PQ_PIPELINE_OFF) return;
  leave_single_row(c);
  check_sent(L, c, PQenterPipelineMode(c->pg));
}

/* What is no continuation of a pipeline that a prepared, not yet run, unnamed statement left open. */
static void begin_new(lua_State *L, fpg_conn *c) {
  if (c->open_pipeline)
    fpg_raise(L, "connection_busy", "another statement is being sent on this connection");
  fpg_conn_begin(L, c);
}

/* libpq would end the text at a NUL. */
static const char *check_sql(lua_State *L, int idx) {
  size_t len;
  const char *sql = luaL_checklstring(L, idx, &len);
  if (strlen(sql) != len) fpg_raise(L, "invalid_argument", "the SQL text has a NUL byte");
  return sql;
}

void fpg_send_simple(lua_State *L, fpg_conn *c, const char *sql) {
  check_sent(L, c, PQsendQuery(c->pg, sql));
  c->slots = c->fresh = c->simple = 1;
}

/* conn:send_simple(sql): several statements, no parameters; the last result or the first error */
static int conn_send_simple(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *sql = check_sql(L, 2);
  begin_new(L, c);
  c->each = 0;
  fpg_send_simple(L, c, sql);
  return 0;
}

static void send_command(lua_State *L, fpg_conn *c, const char *sql) {
  check_sent(L, c, PQsendQueryParams(c->pg, sql, 0, NULL, NULL, NULL, NULL, FPG_TEXT));
  c->slots++;
}

/* A Sync: what follows is another transaction to the server. */
static void send_sync(lua_State *L, fpg_conn *c) {
  check_sent(L, c, PQpipelineSync(c->pg));
  c->syncs++;
  c->open_pipeline = c->queueing = 0;
}

/* The protocol's Close takes no snapshot, and what is gone already is no error to it; DEALLOCATE is a command. */
#ifdef LIBPQ_HAS_CLOSE_PREPARED
enum { CLOSES = 1 };
static void send_close(lua_State *L, fpg_conn *c, const char *name) {
  check_sent(L, c, PQsendClosePrepared(c->pg, name));
  c->slots++;
}
#else
enum { CLOSES = 0 };
static void send_close(lua_State *L, fpg_conn *c, const char *name) {
  send_command(L, c, lua_pushfstring(L, "DEALLOCATE %s", name));
  lua_pop(L, 1);
}
#endif

static void send_closes(lua_State *L, fpg_conn *c, int list) {
  int n = (int)lua_rawlen(L, list);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, list, i);
    send_close(L, c, lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  send_sync(L, c);
}

/* conn:can_close() -> whether statements may be closed now: in a transaction of the user's by the protocol alone */
static int conn_can_close(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  lua_pushboolean(L, CLOSES || PQtransactionStatus(c->pg) == PQTRANS_IDLE);
  return 1;
}

/* conn:send_closes(names): closes the statements of these names, where can_close says so */
static int conn_send_closes(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  begin_new(L, c);
  c->each = 0;
  enter_pipeline(L, c);
  send_closes(L, c, 2);
  return 0;
}

/* conn:send_prepare(name, sql [, names]): Parse and Describe in one round trip, before them the end
 * of the statements of these names.  A name of "" leaves the pipeline open behind a Flush, so
 * that the statement runs in the same transaction of a pooler (send_query closes it). */
static int conn_send_prepare(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *name = luaL_checkstring(L, 2), *sql = check_sql(L, 3);
  begin_new(L, c);
  c->each = 0;
  enter_pipeline(L, c);
  if (lua_istable(L, 4)) send_closes(L, c, 4);
  check_sent(L, c, PQsendPrepare(c->pg, name, sql, 0, NULL));
  c->slots++;
  check_sent(L, c, PQsendDescribePrepared(c->pg, name));
  c->slots++;
  if (*name) {
    send_sync(L, c);
  } else {
    check_sent(L, c, PQsendFlushRequest(c->pg));
    c->open_pipeline = 1;
  }
  return 0;
}

/* conn:send_sync(): closes a pipeline (an open one after "" was prepared, or a batch's) */
static int conn_send_sync(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (PQpipelineStatus(c->pg) != PQ_PIPELINE_OFF) send_sync(L, c);
  return 0;
}

enum { LONG_MESSAGE = 1 << 20, ROOM = 16 << 20 };

/* libpq's non-blocking send moves what is left to the front of its buffer each time the kernel has taken as
 * much as it has room for: of 300 MB by some 200 kB that is a quarter of a terabyte moved.  So the kernel is
 * asked for more room, which it grants to the privileged in full, and by a local socket to anybody twice as
 * much. */
static void make_room(fpg_conn *c) {
  if (c->roomy) return;
  c->roomy = 1;
#ifdef SO_SNDBUFFORCE
  int fd = PQsocket(c->pg), room = ROOM;
  struct sockaddr_storage name;
  socklen_t len = sizeof name;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0) return;
  if (getsockname(fd, (struct sockaddr *)&name, &len) == 0 && name.ss_family == AF_UNIX)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* (TCP finds out by itself) */
#endif
}

/* Before a long message: in a plain script without a time limit libpq may block, and then moves nothing. */
static int begin_long(fpg_conn *c, size_t bytes) {
  if (bytes < LONG_MESSAGE) return 0;
  if (c->may_block) return PQsetnonblocking(c->pg, 0) == 0;
  make_room(c);
  return 0;
}

static void end_long(fpg_conn *c, int blocking) {
  if (blocking) PQsetnonblocking(c->pg, 1);
}

/* conn:set_blocking(yes): whether a long message may hold up the caller */
static int conn_set_blocking(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  c->may_block = lua_toboolean(L, 2);
  return 0;
}

static void send_args(lua_State *L, fpg_conn *c, fpg_stmt *st, int list, int first, int n) {
  fpg_args a = fpg_encode_args(L, c, st, list, first, n);
  st->used = ++c->clock;
  int blocking = begin_long(c, a.bytes);
  int sent = PQsendQueryPrepared(c->pg, st->name, n, a.values, a.lengths, a.formats, st->format);
  end_long(c, blocking);
  check_sent(L, c, sent);
  c->slots++;
  c->fresh = !c->each;
}

static int check_count_arg(lua_State *L, int idx) {
  int64_t n;
  if (!fpg_to_int64(L, idx, &n) || n < 0 || n > 65535)
    fpg_raise(L, "invalid_argument", "a statement takes at most 65535 arguments");
  return (int)n;
}

/* conn:send_undescribed(sql, list, n): runs SQL whose parameters' types are not asked for: all of them
 * go as text, and the result comes as text.  result_statement says then how to read it. */
static int conn_send_undescribed(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *sql = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int n = check_count_arg(L, 4);
  begin_new(L, c);
  c->each = 0;
  fpg_args a = fpg_encode_args(L, c, fpg_stmt_undescribed(L, n), 3, 0, n);
  int blocking = begin_long(c, a.bytes);
  int sent = PQsendQueryParams(c->pg, sql, n, NULL, a.values, a.lengths, a.formats, FPG_TEXT);
  end_long(c, blocking);
  check_sent(L, c, sent);
  c->slots++;
  c->fresh = 1;
  return 0;
}

/* conn:result_statement() -> a statement that reads the finished result, made from its own description */
static int conn_result_statement(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (!c->res) return fpg_raise(L, "connection_busy", "there is no result");
  fpg_stmt_of_result(L, c->res);
  return 1;
}

/* What follows every single statement: where the pipeline is open, the Sync that closes it. */
static void close_single(lua_State *L, fpg_conn *c) {
  if (c->open_pipeline) send_sync(L, c);
}

/* conn:send_query(stmt, ...): runs a prepared statement with these arguments */
static int conn_send_query(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  fpg_conn_begin(L, c);
  c->each = 0;
  send_args(L, c, st, 0, 3, lua_gettop(L) - 2);
  close_single(L, c);
  return 0;
}

/* conn:ask(stmt, ...): sends it with these arguments and takes the first steps: nothing, or what there is still to do, as
 * `answer` says; false where the statement is none of the plain ones, and then nothing was sent */
static int conn_ask(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  if (!st->plain) {
    lua_pushboolean(L, 0);
    return 1;
  }
  begin_new(L, c);
  c->each = 0;
  send_args(L, c, st, 0, 3, lua_gettop(L) - 2);
  return answer(L, c, st);
}

/* conn:ask_list(stmt, list, n): the same with the arguments in a list */
static int conn_ask_list(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  if (!st->plain) {
    lua_pushboolean(L, 0);
    return 1;
  }
  luaL_checktype(L, 3, LUA_TTABLE);
  int n = check_count_arg(L, 4);
  begin_new(L, c);
  c->each = 0;
  send_args(L, c, st, 3, 0, n);
  return answer(L, c, st);
}

/* conn:command(sql): the same with a command by the simple protocol */
static int conn_command(lua_State *L) {
  conn_send_simple(L);
  return answer(L, any_conn(L, 1), NULL);
}

/* conn:send_list(stmt, list, n): the same with the arguments in a list */
static int conn_send_list(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int n = check_count_arg(L, 4);
  fpg_conn_begin(L, c);
  c->each = 0;
  send_args(L, c, st, 3, 0, n);
  close_single(L, c);
  return 0;
}

/* conn:batch(): from here on send_batch queues statements and step stops at each result */
static int conn_batch(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_conn_begin(L, c);
  enter_pipeline(L, c);
  c->each = c->queueing = 1;
  c->open_pipeline = 0;
  return 0;
}

/* conn:send_batch(stmt, list, n): one more statement of the pipeline */
static int conn_send_batch(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  send_args(L, c, st, 3, 0, check_count_arg(L, 4));
  return 0;
}

/* conn:touch(stmt): counts as used now, so that it is not the next to be evicted */
static int conn_touch(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_check_stmt_of_conn(L, 2)->used = ++c->clock;
  return 0;
}

/* conn:send_command(sql): a command without parameters or rows as one more of the pipeline */
static int conn_send_command(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  send_command(L, c, luaL_checkstring(L, 2));
  return 0;
}

/* conn:send_parse(sql): makes the unnamed statement of it, as one more of the pipeline */
static int conn_send_parse(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  check_sent(L, c, PQsendPrepare(c->pg, "", luaL_checkstring(L, 2), 0, NULL));
  c->slots++;
  return 0;
}

/* conn:flush() -> true when all is handed to the kernel */
static int conn_flush(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  int f = PQflush(c->pg);
  if (f < 0) check_sent(L, c, 0);
  lua_pushboolean(L, f == 0);
  return 1;
}

/* conn:stream(): the statement just sent comes row by row; step stops at each */
static int conn_stream(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  c->streaming = c->single_row = PQsetSingleRowMode(c->pg);
  lua_pushboolean(L, c->streaming);
  return 1;
}

/* ---- what a connection tells of itself ---------------------------------------------------- */

static int conn_fd(lua_State *L) {
  lua_pushinteger(L, PQsocket(fpg_check_conn(L, 1)->pg));
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
  return c->pg && !c->doubtful && c->owner == fpg_process_id() && PQstatus(c->pg) == CONNECTION_OK;
}

/* conn:usable() -> false when closed, lost, out of step or inherited from another process */
static int conn_usable(lua_State *L) {
  fpg_conn *c = any_conn(L, 1);
  lua_pushboolean(L, is_usable(c));
  return 1;
}

/* Whether the server has not closed the idle connection, nor said that it is about to (its last words come before the
 * end of the stream); asks the socket, not the server: one system call. */
static int is_alive(fpg_conn *c) {
  struct pollfd p = {PQsocket(c->pg), POLLIN, 0};
  for (int i = 0; i < 100 && PQstatus(c->pg) == CONNECTION_OK; i++) {
    if (PQisBusy(c->pg) || c->dying || poll(&p, 1, 0) <= 0) break; /* (PQisBusy reads what is there) */
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
  fpg_conn *c = any_conn(L, 1);
  double quiet = fpg_clock() - c->heard;
  int usable = is_usable(c) && (quiet < JUST_HEARD || is_alive(c));
  if (usable && quiet >= luaL_checknumber(L, 2)) return 0;
  lua_pushboolean(L, usable);
  return 1;
}

/* conn:rest(): it is idle from here on */
static int conn_rest(lua_State *L) {
  any_conn(L, 1)->heard = fpg_clock();
  return 0;
}

/* conn:busy() -> true while results are outstanding */
static int conn_busy(lua_State *L) {
  fpg_conn *c = any_conn(L, 1);
  lua_pushboolean(L, c->pg && (c->slots || c->syncs || c->open_pipeline));
  return 1;
}

/* conn:idle() -> whether it is usable, nothing is under way and no transaction is open */
static int conn_idle(lua_State *L) {
  fpg_conn *c = any_conn(L, 1);
  lua_pushboolean(L, is_usable(c) && !c->slots && !c->syncs && !c->open_pipeline &&
                         PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF &&
                         PQtransactionStatus(c->pg) == PQTRANS_IDLE);
  return 1;
}

static int conn_info(lua_State *L) {
  fpg_conn *c = get_conn(L, 1);
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

/* conn:send_printing(values): asks the server for the texts of values in their binary forms, each a string: four bytes of
 * its type's oid, and the value. */
static int conn_send_printing(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  size_t n = lua_rawlen(L, 2);
  begin_new(L, c);
  c->each = 0;
  Oid *types = fpg_newuserdata(L, n * sizeof *types);
  const char **values = fpg_newuserdata(L, n * sizeof *values);
  int *lengths = fpg_newuserdata(L, n * sizeof *lengths), *formats = fpg_newuserdata(L, n * sizeof *formats);
  fpg_buf *sql = fpg_buf_new(L);
  fpg_buf_put(L, sql, "SELECT ", 7);
  for (size_t i = 0; i < n; i++) {
    size_t len;
    char parameter[24];
    lua_rawgeti(L, 2, (int)i + 1);
    values[i] = luaL_checklstring(L, -1, &len); /* the list holds it */
    lua_pop(L, 1);
    luaL_argcheck(L, len >= 4, 2, "a type and a value expected");
    types[i] = be_u32(values[i]);
    values[i] += 4;
    lengths[i] = (int)(len - 4);
    formats[i] = FPG_BINARY;
    fpg_buf_put(L, sql, parameter, (size_t)snprintf(parameter, sizeof parameter, i ? ",$%zu" : "$%zu", i + 1));
  }
  fpg_buf_putc(L, sql, 0);
  check_sent(L, c, PQsendQueryParams(c->pg, sql->data, (int)n, types, values, lengths, formats, FPG_TEXT));
  c->slots++;
  c->fresh = 1;
  return 0;
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
  PQclear(c->held);
  c->held = c->res;
  c->res = NULL;
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
  fpg_stmt_new(L, name, c->res)->used = ++c->clock;
  return 1;
}

static int conn_close(lua_State *L) {
  fpg_conn *c = any_conn(L, 1);
  conn_finish(c);
  return 0;
}

/* ---- waiting, for those who may block ----------------------------------------------------- */

/* core.poll(fd, "r" / "w" / "rw", seconds or nil) -> the ready mode, or nil after that time */
static int core_poll(lua_State *L) {
  int64_t fd = -1;
  if (!fpg_to_int64(L, 1, &fd)) luaL_argerror(L, 1, "file descriptor expected");
  const char *mode = luaL_checkstring(L, 2);
  int timeout = lua_isnoneornil(L, 3) ? -1 : fpg_milliseconds(fpg_check_seconds(L, 3));
  struct pollfd p = {(int)fd, 0, 0};
  for (; *mode; mode++) p.events = (short)(p.events | (*mode == 'r' ? POLLIN : POLLOUT));
  int n = poll(&p, fd >= 0 ? 1 : 0, timeout);
  if (n <= 0) return 0; /* nothing, or EINTR: the caller looks again */
  int r = (p.revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) != 0, w = (p.revents & POLLOUT) != 0;
  lua_pushstring(L, r && w ? "rw" : r ? "r" : "w");
  return 1;
}

/* core.libpq_version() -> 150018 for 15.18 */
static int core_libpq_version(lua_State *L) {
  lua_pushinteger(L, PQlibVersion());
  return 1;
}

/* core.random_text() -> 13 letters and digits, 65 bits by chance: nobody else has them, in whatever process, nor had them
 * before a fork */
static int core_random_text(lua_State *L) {
  static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
  unsigned char bytes[13];
  if (getentropy(bytes, sizeof bytes)) return luaL_error(L, "the system gives no random bytes");
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)digits[bytes[i] & 31];
  lua_pushlstring(L, (const char *)bytes, sizeof bytes);
  return 1;
}

/* core.clock() -> seconds of a clock that only goes forward */
static int core_clock(lua_State *L) {
  lua_pushnumber(L, (lua_Number)fpg_clock());
  return 1;
}

static const luaL_Reg conn_methods[] = {
    {"step", conn_step},
    {"send_simple", conn_send_simple},
    {"send_prepare", conn_send_prepare},
    {"can_close", conn_can_close},
    {"send_closes", conn_send_closes},
    {"ask", conn_ask},
    {"ask_list", conn_ask_list},
    {"command", conn_command},
    {"answer", conn_answer},
    {"send_query", conn_send_query},
    {"send_list", conn_send_list},
    {"batch", conn_batch},
    {"send_batch", conn_send_batch},
    {"touch", conn_touch},
    {"send_command", conn_send_command},
    {"send_parse", conn_send_parse},
    {"send_sync", conn_send_sync},
    {"flush", conn_flush},
    {"stream", conn_stream},
    {"text_style", conn_text_style},
    {"text", conn_text},
    {"keep", conn_keep},
    {"send_printing", conn_send_printing},
    {"texts", conn_texts},
    {"set_texts", conn_set_texts},
    {"make_statement", conn_make_statement},
    {"send_undescribed", conn_send_undescribed},
    {"result_statement", conn_result_statement},
    {"fd", conn_fd},
    {"transaction_status", conn_transaction_status},
    {"usable", conn_usable},
    {"ready", conn_ready},
    {"rest", conn_rest},
    {"busy", conn_busy},
    {"set_blocking", conn_set_blocking},
    {"idle", conn_idle},
    {"info", conn_info},
    {"parameter", conn_parameter},
    {"close", conn_close},
    {NULL, NULL},
};

static const luaL_Reg core_functions[] = {
    {"poll", core_poll},
    {"clock", core_clock},
    {"random_text", core_random_text},
    {"libpq_version", core_libpq_version},
    {NULL, NULL},
};

void fpg_open_conn(lua_State *L) {
  watch_forks(L);
  make_list(L);
  luaL_newmetatable(L, FPG_CONN_MT);
  lua_pushliteral(L, FPG_CONN_MT);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, conn_close);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  fpg_add_conn_methods(L, conn_methods);
  luaL_setfuncs(L, core_functions, 0);
}
