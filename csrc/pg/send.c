/* SPDX-License-Identifier: MIT
 *
 * send.c: see send.h.  Each of these hands bytes to libpq; conn:step (step.c) takes in what comes back.
 *
 * PostgreSQL manual: "Asynchronous Command Processing", "Pipeline Mode".
 */
#include "send.h"

#include <stdio.h>
#include <sys/socket.h>

#include "be.h"
#include "buffer.h"
#include "error.h"
#include "number.h"
#include "params.h"
#include "raise.h"
#include "step.h"
#include "take.h"

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
  if (c->open_pipeline && PQstatus(c->pg) != CONNECTION_BAD)
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

/* conn:send_simple(sql [, parts]): several statements, no parameters; the last result or the first error.  With `parts` step
 * stops at each result (conn:busy() says then whether that is one, or all of them were there). */
static int conn_send_simple(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  const char *sql = check_sql(L, 2);
  begin_new(L, c);
  c->each = 0;
  fpg_send_simple(L, c, sql);
  c->parts = lua_toboolean(L, 3);
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

enum { OIDS_AT_MOST = 65535 };

/* Parse; the list at idx, where there is one, has the oids of parameters, 0 for those that the server finds. */
static void send_parse(lua_State *L, fpg_conn *c, const char *name, const char *sql, int idx) {
  size_t n = lua_istable(L, idx) ? lua_rawlen(L, idx) : 0;
  luaL_argcheck(L, n <= OIDS_AT_MOST, idx, "too many types");
  Oid *oids = n ? fpg_newuserdata(L, n * sizeof *oids) : NULL;
  for (size_t i = 0; i < n; i++) {
    int64_t oid = 0;
    lua_rawgeti(L, idx, (int)i + 1);
    fpg_to_int64(L, -1, &oid);
    oids[i] = (Oid)oid;
    lua_pop(L, 1);
  }
  check_sent(L, c, PQsendPrepare(c->pg, name, sql, (int)n, oids));
  c->slots++;
}

/* conn:send_prepare(name, sql [, names [, oids [, alone]]]): Parse and Describe in one round trip, before them the end
 * of the statements of these names.  The oids are those of parameters (send_parse).  A name of "" leaves the pipeline open behind a Flush, so
 * that the statement runs in the same transaction of a pooler (send_query closes it), but where it is described `alone`. */
static int conn_send_prepare(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  lua_settop(L, 6);
  const char *name = luaL_checkstring(L, 2), *sql = check_sql(L, 3);
  begin_new(L, c);
  c->each = 0;
  enter_pipeline(L, c);
  if (lua_istable(L, 4)) send_closes(L, c, 4);
  send_parse(L, c, name, sql, 5);
  check_sent(L, c, PQsendDescribePrepared(c->pg, name));
  c->slots++;
  if (*name || lua_toboolean(L, 6)) {
    send_sync(L, c);
  } else {
    check_sent(L, c, PQsendFlushRequest(c->pg));
    c->open_pipeline = 1;
  }
  return 0;
}

static int check_count_arg(lua_State *L, int idx) {
  int64_t n;
  if (!fpg_to_int64(L, idx, &n) || n < 0 || n > 65535)
    fpg_raise(L, "invalid_argument", "a statement takes at most 65535 arguments");
  return (int)n;
}

/* conn:send_look_up(stmt, sql, list, n): Parse, Bind and Execute in one round trip, of a statement of which it is known what its
 * parameters are (conn:known_statement), and that each column of its result has a binary form */
static int conn_send_look_up(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  const char *sql = check_sql(L, 3);
  luaL_checktype(L, 4, LUA_TTABLE);
  int n = check_count_arg(L, 5);
  begin_new(L, c);
  c->each = 0;
  fpg_args a = fpg_encode_args(L, c, st, 4, 0, n);
  enter_pipeline(L, c);
  check_sent(L, c, PQsendPrepare(c->pg, st->name, sql, st->nparams, st->oids));
  c->slots++;
  check_sent(L, c, PQsendQueryPrepared(c->pg, st->name, n, a.values, a.lengths, a.formats, FPG_BINARY));
  c->slots++;
  c->fresh = 1;
  send_sync(L, c);
  return 0;
}

/* conn:send_sync(): closes a pipeline (an open one after "" was prepared, or a batch's) */
static int conn_send_sync(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  if (PQpipelineStatus(c->pg) != PQ_PIPELINE_OFF) send_sync(L, c);
  return 0;
}

/* conn:send_flush(): the server answers what was sent so far of a pipeline, and goes on with its transaction */
static int conn_send_flush(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  check_sent(L, c, PQsendFlushRequest(c->pg));
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

/* conn:set_blocking(yes): whether a long message may hold up the caller; it may be closed by now */
static int conn_set_blocking(lua_State *L) {
  fpg_conn *c = fpg_any_conn(L, 1);
  c->may_block = lua_toboolean(L, 2);
  return 0;
}

size_t fpg_send_args(lua_State *L, fpg_conn *c, fpg_stmt *st, int list, int first, int n) {
  fpg_args a = fpg_encode_args(L, c, st, list, first, n);
  if (st->place) {
    fpg_recent_use(&c->recent, st->place);
    c->hits += st->ran;
    st->ran = 1;
  }
  int blocking = begin_long(c, a.bytes);
  int sent = PQsendQueryPrepared(c->pg, st->name, n, a.values, a.lengths, a.formats, st->format);
  end_long(c, blocking);
  check_sent(L, c, sent);
  c->slots++;
  c->fresh = !c->each;
  c->sent = a.bytes;
  if (st->bulk || c->takes_all) fpg_take_begin(c, st->bulk);
  return a.bytes;
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

/* What follows every single statement: where the pipeline is open, the Sync that closes it. */
static void close_single(lua_State *L, fpg_conn *c) {
  if (c->open_pipeline) send_sync(L, c);
}

/* conn:send_known(stmt, sql, oids, list, n): Parse and all the rest in one round trip, of a text whose unnamed statement is
 * known from before: its parameters have these types, so that they are what they are encoded as whatever became of tables
 * since.  After an error the pipeline is open. */
static int conn_send_known(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  const char *sql = check_sql(L, 3);
  luaL_checktype(L, 5, LUA_TTABLE);
  int n = check_count_arg(L, 6);
  begin_new(L, c);
  c->each = 0;
  enter_pipeline(L, c);
  send_parse(L, c, "", sql, 4);
  c->open_pipeline = 1;
  fpg_send_args(L, c, st, 5, 0, n);
  close_single(L, c);
  return 0;
}

/* conn:send_query(stmt, ...): runs a prepared statement with these arguments */
static int conn_send_query(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  fpg_conn_begin(L, c);
  c->each = 0;
  fpg_send_args(L, c, st, 0, 3, lua_gettop(L) - 2);
  close_single(L, c);
  return 0;
}

/* conn:ask(stmt, ...): sends it with these arguments and takes the first steps: nothing, or what there is still to do, as
 * `answer` says; false where the statement is none of the plain ones, or one of other types is to be found for these
 * arguments (stmt:misfits), and then nothing was sent */
static int conn_ask(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  if (!st->plain || (st->has_text && fpg_stmt_misfit(L, st, 0, 3, lua_gettop(L) - 2))) {
    lua_pushboolean(L, 0);
    return 1;
  }
  begin_new(L, c);
  c->each = 0;
  fpg_send_args(L, c, st, 0, 3, lua_gettop(L) - 2);
  return fpg_answer(L, c, st);
}

/* conn:ask_list(stmt, list, n): the same with the arguments in a list */
static int conn_ask_list(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int n = check_count_arg(L, 4);
  if (!st->plain || (st->has_text && fpg_stmt_misfit(L, st, 3, 0, n))) {
    lua_pushboolean(L, 0);
    return 1;
  }
  begin_new(L, c);
  c->each = 0;
  fpg_send_args(L, c, st, 3, 0, n);
  return fpg_answer(L, c, st);
}

/* conn:command(sql): the same with a command by the simple protocol */
static int conn_command(lua_State *L) {
  conn_send_simple(L);
  return fpg_answer(L, fpg_any_conn(L, 1), NULL);
}

/* conn:send_list(stmt, list, n): the same with the arguments in a list */
static int conn_send_list(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_stmt *st = fpg_check_stmt_of_conn(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  int n = check_count_arg(L, 4);
  fpg_conn_begin(L, c);
  c->each = 0;
  fpg_send_args(L, c, st, 3, 0, n);
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
  fpg_send_args(L, c, st, 3, 0, check_count_arg(L, 4));
  return 0;
}

/* conn:send_command(sql): a command without parameters or rows as one more of the pipeline */
static int conn_send_command(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  send_command(L, c, luaL_checkstring(L, 2));
  return 0;
}

/* conn:send_parse(sql [, oids]): makes the unnamed statement of it, as one more of the pipeline */
static int conn_send_parse(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  send_parse(L, c, "", luaL_checkstring(L, 2), 3);
  return 0;
}

/* conn:send_describe(): what the unnamed statement is, as one more of the pipeline */
static int conn_send_describe(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  check_sent(L, c, PQsendDescribePrepared(c->pg, ""));
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

/* conn:stream([in_pieces]): the statement just sent comes row by row, or some rows at once where that costs less; step stops at
 * each */
static int conn_stream(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  fpg_take_forget(&c->take);
  if (lua_toboolean(L, 2)) fpg_take_begin(c, 0);
  c->streaming = c->single_row = PQsetSingleRowMode(c->pg);
  lua_pushboolean(L, c->streaming);
  return 1;
}

/* ---- texts of values ------------------------------------------------------------------------ */

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

static const luaL_Reg methods[] = {
    {"send_simple", conn_send_simple},
    {"send_describe", conn_send_describe},
    {"send_prepare", conn_send_prepare},
    {"can_close", conn_can_close},
    {"send_closes", conn_send_closes},
    {"ask", conn_ask},
    {"ask_list", conn_ask_list},
    {"command", conn_command},
    {"send_query", conn_send_query},
    {"send_list", conn_send_list},
    {"batch", conn_batch},
    {"send_batch", conn_send_batch},
    {"send_command", conn_send_command},
    {"send_parse", conn_send_parse},
    {"send_sync", conn_send_sync},
    {"send_flush", conn_send_flush},
    {"flush", conn_flush},
    {"stream", conn_stream},
    {"send_printing", conn_send_printing},
    {"send_undescribed", conn_send_undescribed},
    {"send_known", conn_send_known},
    {"send_look_up", conn_send_look_up},
    {"set_blocking", conn_set_blocking},
    {NULL, NULL},
};

void fpg_open_send(lua_State *L) { fpg_add_conn_methods(L, methods); }
