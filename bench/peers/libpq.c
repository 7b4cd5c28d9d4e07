/* SPDX-License-Identifier: MIT
 *
 * libpq.c: the floor: what the cases cost a C program on raw libpq.
 *
 *   libpq URI CASES [name=count ...]      see peer.lua, which says what is printed and what a checksum is
 *
 * Prepared statements, binary results, every field of every row read as the C value that it is.
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BOOL = 16, INT2 = 21, INT4 = 23, OID = 26, FLOAT8 = 701, INT4_ARRAY = 1007 };
enum { MAX_ARGS = 8 };

typedef struct {
  const char *name, *kind, *sql, *before, *check;
  int count, n, nargs;
  const char *args[MAX_ARGS];
} Case;

static void fail(PGconn *pg, const char *what) {
  fprintf(stderr, "libpq: %s: %s", what, PQerrorMessage(pg));
  exit(1);
}

static PGresult *expect(PGconn *pg, PGresult *res, const char *what) {
  ExecStatusType status = PQresultStatus(res);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_COPY_IN) fail(pg, what);
  return res;
}

static void execute(PGconn *pg, const char *sql) { PQclear(expect(pg, PQexec(pg, sql), sql)); }

/* ---- values ------------------------------------------------------------------------------------ */

static uint32_t be32(const char *p) {
  uint32_t u;
  memcpy(&u, p, 4);
  return ntohl(u);
}

static double be_double(const char *p) {
  uint64_t u = (uint64_t)be32(p) << 32 | be32(p + 4);
  double d;
  memcpy(&d, &u, 8);
  return d;
}

static volatile uint32_t sink; /* so that no read is optimized away */

/* As a C program needs the value: numbers in its own order of bytes, texts where they lie. */
static uint32_t read_field(Oid type, const char *p, int len) {
  switch (type) {
    case INT4:
    case OID: return be32(p);
    case INT2: return (uint32_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
    case BOOL: return (uint32_t)*p;
    case FLOAT8: return (uint32_t)(int64_t)be_double(p);
    case INT4_ARRAY: {
      uint32_t sum = 0;
      if (be32(p) == 0) return 0;
      uint32_t n = be32(p + 12);
      p += 20;
      for (uint32_t i = 0; i < n; i++) {
        int32_t size = (int32_t)be32(p);
        p += 4;
        if (size >= 0) sum += be32(p), p += size;
      }
      return sum;
    }
    default: return len > 0 ? (unsigned char)p[0] + (unsigned char)p[len - 1] : 0;
  }
}

static void read_rows(const PGresult *res) {
  int rows = PQntuples(res), cols = PQnfields(res);
  uint32_t sum = 0;
  for (int j = 0; j < cols; j++) {
    Oid type = PQftype(res, j);
    for (int i = 0; i < rows; i++)
      if (!PQgetisnull(res, i, j)) sum += read_field(type, PQgetvalue(res, i, j), PQgetlength(res, i, j));
  }
  sink = sum;
}

static uint32_t add(uint32_t h, uint32_t v) { return h * 31 + v; }

static uint32_t add_field(uint32_t h, Oid type, const char *p, int len) {
  switch (type) {
    case INT4:
    case OID: return add(h, be32(p));
    case INT2: return add(h, (uint32_t)(int32_t)(int16_t)read_field(type, p, len));
    case BOOL: return add(h, *p ? 2 : 3);
    case FLOAT8: {
      double d = be_double(p);
      return add(h, (uint32_t)(int64_t)(d == floor(d) ? d : floor(d * 1000 + 0.5)));
    }
    case INT4_ARRAY: {
      uint32_t n = be32(p) ? be32(p + 12) : 0;
      for (p += 20; n > 0; n--) {
        int32_t size = (int32_t)be32(p);
        h = add(h, size < 0 ? 1 : be32(p + 4));
        p += 4 + (size < 0 ? 0 : size);
      }
      return h;
    }
    default: {
      uint32_t s = 7;
      for (int i = 0; i < len; i++) s = s * 31 + (unsigned char)p[i];
      return add(h, s);
    }
  }
}

static uint32_t add_rows(uint32_t h, const PGresult *res) {
  for (int i = 0; i < PQntuples(res); i++)
    for (int j = 0; j < PQnfields(res); j++)
      h = PQgetisnull(res, i, j) ? add(h, 1)
                                 : add_field(h, PQftype(res, j), PQgetvalue(res, i, j), PQgetlength(res, i, j));
  return h;
}

/* ---- kinds: each does its case once; gives the number of rows, and the checksum where one is wanted --- */

static int rows(PGconn *pg, const Case *c, uint32_t *sum) {
  PGresult *res = expect(pg, PQexecPrepared(pg, c->name, c->nargs, c->args, NULL, NULL, 1), c->name);
  int n = PQntuples(res);
  if (sum) *sum = add_rows(0, res);
  else read_rows(res);
  PQclear(res);
  return n;
}

static double loading, held; /* seconds of CPU before main; bytes a row */

static double resident(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%*d %ld", &pages) != 1) abort();
  fclose(f);
  return (double)pages * 4096;
}

/* What a row takes while its result is held. */
static int held_once(PGconn *pg, const Case *c, uint32_t *sum) {
  double before = resident();
  PGresult *res = expect(pg, PQexecPrepared(pg, c->name, c->nargs, c->args, NULL, NULL, 1), c->name);
  int n = PQntuples(res);
  held = (resident() - before) / n;
  if (sum) *sum = add_rows(0, res);
  PQclear(res);
  return n;
}

static int load_once(PGconn *pg, const Case *c, uint32_t *sum) {
  (void)pg, (void)c, (void)sum;
  return 0;
}

static int stream(PGconn *pg, const Case *c, uint32_t *sum) {
  int n = 0;
  PGresult *res;
  if (!PQsendQueryPrepared(pg, c->name, c->nargs, c->args, NULL, NULL, 1) || !PQsetSingleRowMode(pg)) fail(pg, c->name);
  if (sum) *sum = 0;
  while ((res = PQgetResult(pg))) {
    if (PQresultStatus(res) == PGRES_FATAL_ERROR) fail(pg, c->name);
    if (sum) *sum = add_rows(*sum, res);
    else read_rows(res);
    n += PQntuples(res);
    PQclear(res);
  }
  return n;
}

static int execute_once(PGconn *pg, const Case *c, uint32_t *sum) {
  (void)sum;
  PQclear(expect(pg, PQexecPrepared(pg, c->name, c->nargs, c->args, NULL, NULL, 0), c->name));
  return 0;
}

static char *put16(char *p, uint16_t v) { return *p++ = (char)(v >> 8), *p++ = (char)v, p; }
static char *put32(char *p, uint32_t v) { return put16(put16(p, (uint16_t)(v >> 16)), (uint16_t)v); }
static char *put_int(char *p, int v) { return put32(put32(p, 4), (uint32_t)v); }
static char *put_text(char *p, const char *s) {
  size_t len = strlen(s);
  return (char *)memcpy(put32(p, (uint32_t)len), s, len) + len;
}
static char *put_double(char *p, double d) {
  uint64_t u;
  memcpy(&u, &d, 8);
  return put32(put32(put32(p, 8), (uint32_t)(u >> 32)), (uint32_t)u);
}

typedef struct {
  int a, b, c;
  const char *d;
  double e;
  int f;
  const char *g;
} Record;
static const Record record = {10, 11, 10, "TESTTESTTEST", 10.333, 12341234, "123412341234"};

static char *put_record(char *p, const Record *r) {
  p = put_int(put_int(put_int(put16(p, 7), r->a), r->b), r->c);
  return put_text(put_int(put_double(put_text(p, r->d), r->e), r->f), r->g);
}

static void copy_end(PGconn *pg) {
  PGresult *res;
  if (PQputCopyEnd(pg, NULL) != 1) fail(pg, "copy");
  while ((res = PQgetResult(pg))) PQclear(expect(pg, res, "copy"));
}

static int copy(PGconn *pg, const Case *c, uint32_t *sum) {
  static char buffer[65536];
  static const char head[19] = "PGCOPY\n\377\r\n\0";
  (void)sum;
  PQclear(expect(pg, PQexec(pg, "COPY record FROM STDIN (FORMAT binary)"), "copy"));
  char *p = (char *)memcpy(buffer, head, sizeof head) + sizeof head;
  for (int i = 0; i < c->n; i++) {
    p = put_record(p, &record);
    if (p > buffer + sizeof buffer - 256) {
      if (PQputCopyData(pg, buffer, (int)(p - buffer)) != 1) fail(pg, "copy");
      p = buffer;
    }
  }
  p = put16(p, 0xffff);
  if (PQputCopyData(pg, buffer, (int)(p - buffer)) != 1) fail(pg, "copy");
  copy_end(pg);
  return c->n;
}

static char *long_text; /* what copytext sends, made once */

static int copytext(PGconn *pg, const Case *c, uint32_t *sum) {
  static const char line[] = "10\t11\t10\tTESTTESTTEST\t10.333\t12341234\t123412341234\n";
  size_t size = (size_t)c->n * (sizeof line - 1);
  (void)sum;
  if (!long_text) {
    if (!(long_text = malloc(size))) abort();
    for (size_t at = 0; at < size; at += sizeof line - 1) memcpy(long_text + at, line, sizeof line - 1);
  }
  PQclear(expect(pg, PQexec(pg, "COPY record FROM STDIN"), "copy"));
  for (size_t at = 0; at < size;) {
    int part = size - at > 65536 ? 65536 : (int)(size - at);
    if (PQputCopyData(pg, long_text + at, part) != 1) fail(pg, "copy");
    at += (size_t)part;
  }
  copy_end(pg);
  return c->n;
}

/* Pipelined, in one transaction as libpq's pipelines are. */
static int batch(PGconn *pg, const Case *c, uint32_t *sum) {
  int left = c->n;
  PGresult *res;
  (void)sum;
  if (!PQenterPipelineMode(pg) || PQsetnonblocking(pg, 0) != 0) fail(pg, "batch");
  for (int sent = 0; sent < c->n;) {
    int some = c->n - sent < 100 ? c->n - sent : 100; /* answers are read before the server can't send any more */
    for (int i = 0; i < some; i++, sent++) {
      char buffer[256], *p = buffer;
      const char *values[7];
      int lengths[7] = {4, 4, 4, (int)strlen(record.d), 8, 4, (int)strlen(record.g)};
      static const int formats[7] = {1, 1, 1, 1, 1, 1, 1};
      p = put_record(p, &record);
      p = buffer + 2;
      for (int j = 0; j < 7; j++) values[j] = p + 4, p += 4 + lengths[j];
      if (!PQsendQueryPrepared(pg, c->name, 7, values, lengths, formats, 1)) fail(pg, "batch");
    }
    if (sent == c->n) PQpipelineSync(pg);
    else PQsendFlushRequest(pg), PQflush(pg);
    for (int i = 0; i < some; i++, left--) {
      PQclear(expect(pg, PQgetResult(pg), "batch"));
      if ((res = PQgetResult(pg))) fail(pg, "batch: another result");
    }
  }
  res = PQgetResult(pg);
  if (PQresultStatus(res) != PGRES_PIPELINE_SYNC) fail(pg, "batch: no sync");
  PQclear(res);
  PQexitPipelineMode(pg);
  return c->n - left;
}

static const char *uri;

static int connect_once(PGconn *pg, const Case *c, uint32_t *sum) {
  (void)pg, (void)c, (void)sum;
  PGconn *other = PQconnectdb(uri);
  if (PQstatus(other) != CONNECTION_OK) fail(other, "connect");
  PQfinish(other);
  return 0;
}

static const struct {
  const char *name;
  int (*once)(PGconn *pg, const Case *c, uint32_t *sum);
  int sums, prepares;
} kinds[] = {
    {"rows", rows, 1, 1},    {"stream", stream, 1, 1},     {"execute", execute_once, 0, 1},  {"copy", copy, 0, 0},
    {"batch", batch, 0, 1},  {"copytext", copytext, 0, 0}, {"connect", connect_once, 0, 0},
    {"held", held_once, 1, 1}, {"load", load_once, 0, 0},
};

/* ---- running ----------------------------------------------------------------------------------- */

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(PGconn *pg, const Case *c) {
  size_t k = 0;
  while (k < sizeof kinds / sizeof kinds[0] && strcmp(kinds[k].name, c->kind) != 0) k++;
  if (k == sizeof kinds / sizeof kinds[0]) {
    printf("%s\tskip\n", c->name);
    return;
  }
  int (*once)(PGconn *, const Case *, uint32_t *) = kinds[k].once;
  uint32_t sum = 0;
  if (c->before) execute(pg, c->before);
  if (kinds[k].prepares) PQclear(expect(pg, PQprepare(pg, c->name, c->sql, 0, NULL), c->name));
  int checked = !getenv("BENCH_UNCHECKED");
  int n = once(pg, c, checked && kinds[k].sums ? &sum : NULL);
  char said[16] = "-";
  if (checked && !kinds[k].sums && c->check) {
    PGresult *res = expect(pg, PQexecParams(pg, c->check, 0, NULL, NULL, NULL, NULL, 1), c->check);
    sum = add_rows(0, res);
    PQclear(res);
  }
  if (checked) snprintf(said, sizeof said, "%u", (unsigned)sum);
  if (once == held_once || once == load_once) { /* measured already, and in bytes where others have microseconds */
    printf("%s\t%.3f\t0\t%s\t%d\n", c->name, once == held_once ? held : loading * 1e6, said, n);
    return;
  }
  for (int i = 0; c->count >= 3 && (i < c->count / 10 || (i < c->count && i < 100)); i++) once(pg, c, NULL);
  if (c->before) execute(pg, c->before);
  double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
  for (int i = 0; i < c->count; i++) once(pg, c, NULL);
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, wall = seconds(CLOCK_MONOTONIC) - wall;
  printf("%s\t%.3f\t%.3f\t%s\t%d\n", c->name, cpu * 1e6 / c->count, wall * 1e6 / c->count, said, n);
}

/* Cuts the line into its keys and values. False: a case for several tasks. */
static int read_case(char *line, Case *c) {
  static char *words[MAX_ARGS];
  int mine = 1;
  memset(c, 0, sizeof *c);
  for (char *key = strtok(line, "\t\n"); key; key = strtok(NULL, "\t\n")) {
    char *value = strchr(key, '=');
    if (!value) continue;
    *value++ = 0;
    if (strcmp(key, "name") == 0) c->name = value;
    else if (strcmp(key, "kind") == 0) c->kind = value;
    else if (strcmp(key, "sql") == 0) c->sql = value;
    else if (strcmp(key, "before") == 0) c->before = value;
    else if (strcmp(key, "check") == 0) c->check = value;
    else if (strcmp(key, "count") == 0) c->count = atoi(value);
    else if (strcmp(key, "n") == 0) c->n = atoi(value);
    else if (strcmp(key, "args") == 0) words[0] = value, c->nargs = 1;
    else if (strcmp(key, "tasks") == 0) mine = 0;
  }
  for (char *p = c->nargs ? words[0] : NULL; p; ) { /* "i:-1,b:true" */
    char *next = strchr(p, ',');
    if (next) *next++ = 0;
    c->args[c->nargs - 1] = p + 2;
    p = next;
    if (p && ++c->nargs > MAX_ARGS) abort();
  }
  return mine;
}

static int chosen(Case *c, int argc, char **argv) {
  size_t length = strlen(c->name);
  for (int a = 3; a < argc; a++)
    if (strncmp(argv[a], c->name, length) == 0 && argv[a][length] == '=') return c->count = atoi(argv[a] + length + 1), 1;
  return argc == 3;
}

int main(int argc, char **argv) {
  static char line[1 << 17];
  loading = seconds(CLOCK_PROCESS_CPUTIME_ID); /* the libraries of libpq are found and bound before main */
  if (argc < 3) return 2;
  uri = argv[1];
  void *volatile block = malloc(1 << 20); /* as fastpg does: glibc then keeps its heap, which is worth more than all else */
  free(block);
  PGconn *pg = PQconnectdb(uri);
  if (PQstatus(pg) != CONNECTION_OK) fail(pg, "no connection");
  FILE *f = fopen(argv[2], "r");
  if (!f) return perror(argv[2]), 1;
  while (fgets(line, sizeof line, f)) {
    Case c;
    int mine = read_case(line, &c);
    if (!chosen(&c, argc, argv)) continue;
    if (mine) measure(pg, &c);
    else printf("%s\tskip\n", c.name);
  }
  fclose(f);
  free(long_text);
  PQfinish(pg);
  return 0;
}
