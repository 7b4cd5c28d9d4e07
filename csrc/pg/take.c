/* SPDX-License-Identifier: MIT
 *
 * take.c: see take.h.
 */
#include "take.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "be.h"
#include "raise.h"

enum {
  MOST_SENT = 4096,       /* bytes of parameters: what is sent in one go, beside which libpq never reads */
  MOST_STEP = 256 << 10,  /* bytes in a step, and reads: who waits for other sockets is not to wait for long */
  MOST_READS = 64,
  LEAST = 4096,           /* bytes that are worth a system call */
  MOST_HEAD = 16 << 10,   /* a RowDescription that is longer is libpq's */
  HEAD = 1024,            /* most are not longer */
  HEADER = 5,             /* the kind of a message, and its length from there on */
  FIELD = 18,             /* what a RowDescription tells of a column besides its name */
  ASIDE = 64 << 10        /* bytes handed to libpq at once: what a socket takes */
};

static const char BIND_COMPLETE[HEADER] = {'2', 0, 0, 0, 4};

/* How far taking goes: more is to come; libpq has the next word; a row is none; there is no memory for what is no row; there may
 * be more already. */
typedef enum { MORE, LIBPQ, NO_ROW, NO_MEMORY, GO_ON } stop;

static void forget_rows(fpg_take *t) {
  fpg_taken_drop(t->rows);
  t->rows = NULL;
}

void fpg_take_begin(fpg_conn *c, size_t bytes) {
  int alone = c->slots == 1 && !c->syncs && !c->each && !c->open_pipeline && PQpipelineStatus(c->pg) == PQ_PIPELINE_OFF;
  if (alone && c->plain_socket && c->sent <= MOST_SENT) {
    c->take.at = FPG_TAKE_HEAD;
    c->take.sure = bytes - bytes / 8;
  }
}

/* How many bytes there were; 0: none yet, -1: the end, or an error, which libpq will meet as well. */
static ptrdiff_t receive(const fpg_conn *c, char *p, size_t n, int flags) {
  ptrdiff_t got;
  do got = recv(PQsocket(c->pg), p, n, flags | MSG_DONTWAIT);
  while (got < 0 && errno == EINTR);
  if (got > 0) return got;
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
}

/* Takes n bytes that were looked at: they are there. */
static int receive_all(const fpg_conn *c, char *p, size_t n) {
  while (n) {
    ptrdiff_t got = receive(c, p, n, 0);
    if (got <= 0) return 0;
    p += got;
    n -= (size_t)got;
  }
  return 1;
}

/* ---- how the answer begins ----------------------------------------------------------------- */

/* The next column of a RowDescription: its name; NULL where it is not within the message. */
static const char *next_column(const char **p, const char *end) {
  const char *name = *p, *zero = memchr(name, 0, (size_t)(end - name));
  if (!zero || end - zero - 1 < FIELD) return NULL;
  *p = zero + 1 + FIELD;
  return name;
}

/* How long the RowDescription is that begins there; 0 where it is none, or not whole. */
static size_t description_size(const char *p, const char *end) {
  if (end - p < HEADER + 2 || *p != 'T') return 0;
  size_t size = 1 + (size_t)be_u32(p + 1);
  if (size < HEADER + 2 || size > (size_t)(end - p)) return 0;
  const char *column = p + HEADER + 2, *behind = p + size;
  for (int n = be_u16(p + HEADER); n > 0; n--)
    if (!next_column(&column, behind)) return 0;
  return column == behind ? size : 0;
}

/* ---- messages that are no rows -------------------------------------------------------------- */

static int lay_aside(fpg_take *t, const char *p, size_t n) {
  if (t->aside_len + n > t->aside_cap) {
    size_t cap = 2 * (t->aside_len + n);
    char *more = realloc(t->aside, cap);
    if (!more) return 0;
    t->aside = more;
    t->aside_cap = cap;
  }
  memcpy(t->aside + t->aside_len, p, n);
  t->aside_len += n;
  return 1;
}

/* Takes what has come of the message under way; GO_ON where that is all of it.  A row is dropped, others are laid aside. */
static stop take_message(fpg_conn *c) {
  char part[4096];
  fpg_take *t = &c->take;
  while (t->have < HEADER || t->left) {
    size_t want = t->have < HEADER ? (size_t)(HEADER - t->have) : t->left < sizeof part ? t->left : sizeof part;
    ptrdiff_t n = receive(c, part, want, 0);
    if (n <= 0) return n ? LIBPQ : MORE;
    if (t->have < HEADER) {
      memcpy(t->header + t->have, part, (size_t)n);
      t->have += (int)n;
      if (t->have == HEADER) t->left = be_u32(t->header + 1) - 4;
    } else {
      t->left -= (size_t)n;
    }
    if (*t->header != 'D' && !lay_aside(t, part, (size_t)n)) return NO_MEMORY;
  }
  t->have = 0;
  return GO_ON;
}

/* There is no memory for the row under way: it is dropped as it comes, and all that follow. */
static void give_up(fpg_take *t) {
  const fpg_chunk *last = t->rows->last;
  size_t begun = last ? last->used - t->rows->whole : 0;
  t->have = begun < HEADER ? (int)begun : HEADER;
  if (t->have) memcpy(t->header, last->data + t->rows->whole, (size_t)t->have);
  t->left = t->have == HEADER ? 1 + (size_t)be_u32(t->header + 1) - begun : 0;
  t->dropping = 1;
  forget_rows(t);
}

/* libpq reads messages from another socket in place of its own. */
static int read_aside(fpg_conn *c, int pair[2]) {
  const char *p = c->take.aside;
  for (size_t left = c->take.aside_len; left;) {
    ptrdiff_t n = send(pair[1], p, left < ASIDE ? left : ASIDE, MSG_NOSIGNAL);
    if (n <= 0) return 0;
    for (struct pollfd more = {pair[0], POLLIN, 0}; poll(&more, 1, 0) > 0;) {
      if (!PQconsumeInput(c->pg)) return 0;
      PQisBusy(c->pg); /* takes them out of its buffer */
    }
    p += n;
    left -= (size_t)n;
  }
  return 1;
}

/* Gives libpq what was laid aside. */
static int give_aside(fpg_conn *c) {
  int fd = PQsocket(c->pg), own = fcntl(fd, F_DUPFD_CLOEXEC, 0), pair[2], given = 0;
  if (own < 0) return 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0) {
    if (dup3(pair[0], fd, O_CLOEXEC) == fd) {
      given = read_aside(c, pair);
      if (dup3(own, fd, O_CLOEXEC) != fd) given = 0;
    }
    close(pair[0]);
    close(pair[1]);
  }
  close(own);
  return given;
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* A message that is no row to be kept, of that kind, which is there: whether it is taken. */
static stop begin_message(fpg_conn *c, char kind) {
  fpg_take *t = &c->take;
  int is_dropped = t->dropping && kind == 'D';
  if (!is_dropped && kind != 'N' && kind != 'A' && kind != 'S') return LIBPQ;
  if (!is_dropped && !lay_aside(t, &kind, 1)) return NO_MEMORY;
  if (receive(c, t->header, 1, 0) != 1) return LIBPQ;
  t->have = 1;
  return take_message(c);
}

static stop drop_row(fpg_conn *c) {
  char kind;
  ptrdiff_t n = receive(c, &kind, 1, MSG_PEEK);
  return n > 0 ? begin_message(c, kind) : n ? LIBPQ : MORE;
}

/* Behind the rows n bytes of other messages were taken with them, and maybe rows behind those. */
static stop sort_out(fpg_take *t, char *p, size_t n) {
  while (n) {
    if (*p != 'N' && *p != 'A' && *p != 'S') return lay_aside(t, p, n) ? LIBPQ : NO_MEMORY;
    size_t size = n < HEADER ? n + 1 : 1 + (size_t)be_u32(p + 1), come = size < n ? size : n;
    if (!lay_aside(t, p, come)) return NO_MEMORY;
    if (come < size) {
      t->have = n < HEADER ? (int)n : HEADER;
      t->left = n < HEADER ? 0 : size - n;
      memcpy(t->header, p, (size_t)t->have);
      return MORE;
    }
    n -= come;
    memmove(p, p + come, n);
    fpg_span span;
    if (!fpg_taken_look(t->rows, n, &span)) return NO_ROW;
    fpg_taken_add(t->rows, &span);
    p += span.bytes;
    n -= span.bytes;
  }
  return MORE;
}

/* n bytes were taken without a look, of `asked` that had room. */
static stop put_in(fpg_take *t, char *p, size_t n, size_t asked) {
  fpg_span span;
  if (!fpg_taken_look(t->rows, n, &span)) return NO_ROW;
  fpg_taken_add(t->rows, &span);
  if (span.bytes < n) return sort_out(t, p + span.bytes, n - span.bytes);
  return n < asked ? MORE : GO_ON;
}

static stop take_sure(fpg_conn *c, char *p, size_t room) {
  size_t most = c->take.sure - c->take.rows->came, asked = most < room ? most : room;
  ptrdiff_t n = receive(c, p, asked, 0);
  if (n <= 0) return n ? LIBPQ : MORE;
  return put_in(&c->take, p, (size_t)n, asked);
}

/* Takes what has come of rows, and of what is between them. */
static stop take_some(fpg_conn *c) {
  fpg_take *t = &c->take;
  fpg_span span;
  size_t room;
  char *p = fpg_taken_room(t->rows, &room);
  if (!p) {
    give_up(t);
    return t->have ? take_message(c) : GO_ON;
  }
  if (t->rows->came + LEAST < t->sure) return take_sure(c, p, room);
  ptrdiff_t n = receive(c, p, room, MSG_PEEK);
  if (n <= 0) return n ? LIBPQ : MORE;
  if (!fpg_taken_look(t->rows, (size_t)n, &span)) return NO_ROW;
  if (!receive_all(c, p, span.bytes)) return LIBPQ;
  fpg_taken_add(t->rows, &span);
  if (span.bytes < (size_t)n) return begin_message(c, p[span.bytes]);
  return span.bytes < room ? MORE : GO_ON;
}

static stop take_rows(fpg_conn *c) {
  fpg_take *t = &c->take;
  stop at = t->have ? take_message(c) : GO_ON;
  size_t before = t->rows ? t->rows->came : 0;
  for (int reads = 0; at == GO_ON && reads < MOST_READS; reads++) {
    at = t->dropping ? drop_row(c) : take_some(c);
    if (t->rows && t->rows->came - before >= MOST_STEP) break;
  }
  return at == GO_ON ? MORE : at;
}

/* Looks whether rows may follow: how long their description is, 0 where it is libpq's; -1 where nothing has come. */
static ptrdiff_t look_at_head(const fpg_conn *c, char head[MOST_HEAD]) {
  size_t size = 0;
  for (size_t most = HEAD; !size; most = MOST_HEAD) {
    ptrdiff_t n = receive(c, head, most, MSG_PEEK);
    if (n <= 0) return n ? 0 : -1;
    if (n < HEADER || memcmp(head, BIND_COMPLETE, HEADER) != 0) return 0;
    size = description_size(head + HEADER, head + n);
    if ((size_t)n < most || most == MOST_HEAD) break;
  }
  return (ptrdiff_t)size;
}

/* Takes what was looked at, and rows behind it where it is sure that there are some. */
static stop take_head(fpg_conn *c, char head[MOST_HEAD], size_t size) {
  fpg_take *t = &c->take;
  size_t room;
  char *p;
  t->rows = fpg_taken_new(be_u16(head + 2 * HEADER));
  t->description = malloc(size);
  if (!t->rows || !t->description || !(p = fpg_taken_room(t->rows, &room))) return LIBPQ;
  memcpy(t->description, head + HEADER, size);
  t->size = size;
  struct iovec parts[] = {{head, HEADER + size}, {p, room < t->sure ? room : t->sure}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ptrdiff_t n = recvmsg(PQsocket(c->pg), &message, MSG_DONTWAIT);
  if (n < (ptrdiff_t)(HEADER + size)) return LIBPQ;
  t->at = FPG_TAKE_ROWS;
  return put_in(t, p, (size_t)n - HEADER - size, parts[1].iov_len);
}

static int fail(lua_State *L, fpg_conn *c, const char *why) {
  fpg_take_forget(&c->take);
  c->doubtful = 1;
  return fpg_raise(L, "connection", "%s: the connection can't be used any more", why);
}

int fpg_take_step(lua_State *L, fpg_conn *c) {
  fpg_take *t = &c->take;
  stop at = GO_ON;
  if (t->at == FPG_TAKE_HEAD) {
    char head[MOST_HEAD];
    ptrdiff_t size = look_at_head(c, head);
    if (size < 0) return 0;
    if (size > 0) at = take_head(c, head, (size_t)size);
    if (t->at == FPG_TAKE_HEAD) {
      fpg_take_forget(&c->take);
      return 1;
    }
  }
  if (t->at == FPG_TAKE_ROWS) {
    if (at == GO_ON) at = take_rows(c);
    if (at == NO_ROW) return fail(L, c, "what the server sent as a row is none");
    if (at == NO_MEMORY) return fail(L, c, "there is no memory for what the server sent between rows");
    if (at == MORE) return 0;
    if (t->aside_len && !give_aside(c))
      return fail(L, c, "what the server sent beside the rows can't be read (no descriptor is free, or no memory)");
    t->aside_len = 0;
    t->at = FPG_TAKE_OVER;
  }
  return 1;
}

/* ---- results -------------------------------------------------------------------------------- */

/* A result without rows, of the columns that were described. */
static PGresult *described(const fpg_conn *c, ExecStatusType status) {
  const char *p = c->take.description + HEADER + 2, *end = c->take.description + c->take.size;
  int ncols = be_u16(p - 2), i = 0;
  PGresult *res = PQmakeEmptyPGresult(c->pg, status);
  PGresAttDesc *columns = calloc((size_t)ncols + 1, sizeof *columns);
  for (; columns && i < ncols; i++) {
    PGresAttDesc *one = &columns[i];
    one->name = (char *)(uintptr_t)next_column(&p, end);
    const char *field = p - FIELD;
    one->tableid = be_u32(field);
    one->columnid = be_u16(field + 4);
    one->typid = be_u32(field + 6);
    one->typlen = be_i16(field + 10);
    one->atttypmod = be_i32(field + 12);
    one->format = be_u16(field + 16);
  }
  int made = res && columns && (ncols == 0 || PQsetResultAttrs(res, ncols, columns));
  free(columns);
  if (made) return res;
  PQclear(res);
  return NULL;
}

int fpg_take_piece(lua_State *L, fpg_conn *c) {
  fpg_take *t = &c->take;
  if (!t->rows || !t->rows->nrows) return 0;
  PGresult *res = described(c, PGRES_SINGLE_TUPLE);
  fpg_taken *piece = res ? fpg_taken_split(t->rows) : NULL;
  if (!piece) {
    PQclear(res);
    return luaL_error(L, "not enough memory");
  }
  fpg_forget_result(c);
  c->res = res;
  c->taken = piece;
  c->took++;
  return 1;
}

fpg_rows fpg_take_result(lua_State *L, fpg_conn *c, PGresult *end) {
  fpg_take *t = &c->take;
  if (t->at != FPG_TAKE_OVER || PQresultStatus(end) != PGRES_COMMAND_OK) {
    fpg_take_forget(t);
    return fpg_rows_of(end, NULL);
  }
  PGresult *res = t->dropping ? NULL : described(c, PGRES_TUPLES_OK);
  fpg_taken *rows = t->rows;
  t->rows = NULL;
  fpg_take_forget(&c->take);
  if (!res) {
    fpg_taken_drop(rows);
    PQclear(end);
    luaL_error(L, "not enough memory");
  }
  rows->end = end;
  c->took++;
  return fpg_rows_of(res, rows);
}

/* ---- Lua ------------------------------------------------------------------------------------ */

/* conn:take_rows([when]) -> how many results, and pieces of streams, were made of rows that were taken.  when, from now on:
 * "always", "never", or "usual": of statements whose results are big.  (Specs compare what comes of it.) */
static int conn_take_rows(lua_State *L) {
  static const char *const whens[] = {"usual", "always", "never", NULL};
  fpg_conn *c = fpg_check_conn(L, 1);
  if (!lua_isnoneornil(L, 2)) {
    int when = luaL_checkoption(L, 2, NULL, whens);
    c->takes_all = when == 1;
    c->plain_socket = when != 2 && !PQsslInUse(c->pg) && !PQgssEncInUse(c->pg);
  }
  lua_pushinteger(L, c->took);
  return 1;
}

static const luaL_Reg methods[] = {{"take_rows", conn_take_rows}, {NULL, NULL}};

void fpg_open_take(lua_State *L) { fpg_add_conn_methods(L, methods); }
