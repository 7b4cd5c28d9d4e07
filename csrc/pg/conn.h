/* SPDX-License-Identifier: MIT
 *
 * conn.h: a connection to the server that never waits.
 *
 * Every operation is two calls: a `send_*` (send.c) that hands bytes to libpq, and `step` (step.c), called again and
 * again until it is done:
 *
 *            send_*                    step: "r" / "w" / "rw"  (wait for the socket, step again)
 *   IDLE ────────────▶ slots, syncs ───┤
 *     ▲                                step: true   a result is ready in `res` (or all is done)
 *     └────── nothing outstanding ─────┤
 *                                      step: "sync" a pipeline reached a Sync
 *
 * A *slot* is one statement whose result is still to come; a *sync* one PQpipelineSync.  Where
 * `each` is set, step stops at every slot (a pipeline whose results are read one by one), else it
 * runs until nothing is outstanding and keeps the first error or the last result.
 *
 * In step: an answer belongs to the statement that was sent for it, and to no other.  Each Sync and each simple query
 * gives one ReadyForQuery.  Only COPY could give one more: in the extended protocol a COPY that fails before it has read
 * anything is ended by the Sync sent with it, and libpq sends another.  So COPY goes by the simple protocol, which has no
 * Sync, and where one begins all the same, or a statement ends without an answer, or libpq was told what
 * nobody asked for, the connection is `doubtful`: it is of no use any more, and a pool closes it.
 *
 * Invariants: res is owned here and cleared before anything new is sent · buf and argv are reused
 * by every statement · the user value is the list of what c holds: buf, argv, holder, recent · a connection made in another process is never spoken to (`owner`).
 */
#ifndef FASTPG_CONN_H
#define FASTPG_CONN_H

#include <libpq-fe.h>
#include <sys/types.h>

#include "buffer.h"
#include "prepared.h"
#include "recent.h"
#include "rows.h"

#define FPG_CONN_MT "fastpg.connection"
#define FPG_NOTIFY_MT "fastpg.notification"

/* What statements did to the session since the last call of `outcome`. */
enum {
  FPG_EVENT_DDL = 1,     /* the schema changed */
  FPG_EVENT_DISCARD = 2, /* prepared statements are gone */
  FPG_EVENT_ROLLBACK = 4, /* a transaction or savepoint was rolled back by hand */
  FPG_EVENT_SET = 8,      /* settings of the session may be others */
  FPG_EVENT_COMMIT = 16,  /* a transaction ended, but by ROLLBACK */
  FPG_EVENT_UNLISTEN = 32, /* what the session listens to may be less */
  FPG_EVENT_REPORT = 64,  /* a setting is another that the server reports */
  FPG_EVENT_RIGHTS = 128, /* GRANT, REVOKE */
  FPG_EVENT_ALONE = 256   /* a commit that was not waited for until a standby had it (notice.c) */
};

/* COPY: asked for by send_copy, then under way in one of two directions (copy.c). */
enum { FPG_COPY_NONE, FPG_COPY_ASKED, FPG_COPY_IN, FPG_COPY_OUT };

typedef struct fpg_conn {
  PGconn *pg;
  PGresult *res;
  fpg_taken *taken; /* the rows of res, where they were taken off the socket */
  fpg_rows piece;   /* rows of a stream that nobody has asked for yet, while res is NULL */
  fpg_rows held;    /* put aside while something else runs (conn:keep) */
  fpg_take take;
  int plain_socket; /* it has no encryption */
  int takes_all;    /* also where a statement gives few rows */
  int took;         /* results whose rows were taken */
  size_t sent;      /* bytes of parameters, by the last statement */
  pid_t owner;
  int begun, connected; /* the first step of connecting was taken, the last */
  int slots, syncs;
  int failed_with; /* how many answers were still to come, its own among them, when a statement failed last */
  int each;
  int streaming;     /* single-row mode: every row is a result of its own */
  int single_row;    /* libpq may still be in that mode when the statement is over */
  int open_pipeline; /* after a Flush: the pipeline is not closed by a Sync yet */
  int queueing;      /* a batch takes statements: no other may run before its Sync */
  int parts;         /* of a text of several statements each result is wanted: step stops at each */
  int simple;        /* the simple protocol is spoken: what is under way ends by itself, by no Sync */
  int answered;      /* the slot that is read has had a result: each has one, even an empty statement */
  int bare;          /* connecting: libpq's environment does not count */
  int severed;       /* its socket was shut down from here (conn:sever) */
  int doubtful;      /* it may be out of step: no other statement may be sent, ever */
  int draining;      /* the rows of a refused COPY TO STDOUT are being dropped */
  int dying;         /* a FATAL came while nothing was asked: the server is about to close it */
  int refused;       /* a COPY was refused: the operation is a failure whatever the server says */
  int outside;       /* no transaction was open when what is under way was begun: what it does is committed with it */
  int fresh;         /* a single statement was sent and the socket not looked at since */
  int canceled;      /* the server was asked to stop what is under way */
  int events;        /* FPG_EVENT_* */
  double heard;      /* when the server was last heard of: its answer was over, or it had nothing to say */
  int sent_many;     /* by the last send_many (batch.c) */
  int copy;          /* FPG_COPY_* */
  int copy_ended;    /* the server has ended it, which libpq does not tell (copy.c) */
  int date_order, zone_changed; /* of text that comes, for fpg_ctx (conn:text_style) */
  uint64_t reports;  /* a hash of the settings that the server reports */
  int has_texts;     /* there are texts for what the result has in binary only (conn:set_texts) */
  int has_ready;     /* long values of the result were read beforehand (heavy.c) */
  int may_block;     /* the caller may be held up while a long message is sent */
  int roomy;         /* the socket's buffer was enlarged for one */
  int listening;     /* somebody will ask for notifications */
  char *copy_row;    /* libpq's copy of one row of COPY TO STDOUT, while it is taken over */
  fpg_recent recent; /* which prepared statements were used last */
  int hears;         /* notices are kept: somebody will ask for them (notice.c) */
  char *notices;     /* each its fields, a code and a string to its NUL, and a NUL at the end */
  size_t notices_len, notices_cap;
  double hits;       /* how often one ran that had run before */
  int reads;         /* it is no connection, but reads a result that came by one (reader.c): pg is NULL */
  int server;        /* ... of a server of this version */
  char *zone;        /* ... whose TimeZone was this: behind the reader (reader.c) */
  fpg_buf *buf;  /* bytes of the parameters; NULL while they are being encoded, and after an error */
  fpg_buf *argv; /* pointers, lengths and formats for PQsendQueryPrepared; likewise */
  struct fpg_holder *holder; /* of the result being decoded */
  struct fpg_conn *next, **link; /* among the open ones of this Lua state; what points here */
} fpg_conn;

/* Counts c, which is about to be opened, among the connections of this Lua state; raises "closed" when the
 * state is being closed and nobody would close it any more. */
void fpg_conn_enlist(lua_State *L, fpg_conn *c);

/* The methods of a connection have its metatable and that of statements as upvalues. */
enum { FPG_CONN_UPVALUE = 1, FPG_STMT_UPVALUE, FPG_CONN_UPVALUES = FPG_STMT_UPVALUE };

/* The connection at idx; raises "closed" when it is closed or belongs to another process. */
fpg_conn *fpg_check_conn(lua_State *L, int idx);

/* The same where it may belong to another process; where it may be closed, too. */
fpg_conn *fpg_open_conn_at(lua_State *L, int idx);
fpg_conn *fpg_any_conn(lua_State *L, int idx);

/* The statement at idx, for methods of a connection. */
fpg_stmt *fpg_check_stmt_of_conn(lua_State *L, int idx);

/* Adds methods to those of connections. */
void fpg_add_conn_methods(lua_State *L, const luaL_Reg *list);

/* Clears what the last operation left; raises when it is still under way. */
void fpg_conn_begin(lua_State *L, fpg_conn *c);

/* Clears the finished result. */
void fpg_forget_result(fpg_conn *c);

/* Why a connection that is doubtful can't be used. */
extern const char FPG_OUT_OF_STEP[];

#endif
