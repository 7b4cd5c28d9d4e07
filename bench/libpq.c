/* SPDX-License-Identifier: MIT
 *
 * libpq.c: the floor: what the cases of bench/README.md cost a C program on raw libpq.
 *
 *   libpq URI case=count ...     prints "case cpu_us wall_us" per query, one line a case
 *
 * Prepared statements, binary results, every field of every row read.
 */
#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INT4 = 23, INT2 = 21, OID = 26, BOOL = 16 };

typedef struct {
  const char *name, *sql;
  int nparams;
} Case;

static const Case cases[] = {
    {"select1", "SELECT 1+1", 0},
    {"artist", "SELECT * FROM artist WHERE artist_id = $1", 1},
    {"ints", "SELECT i FROM generate_series(1, 1000) i", 0},
    {"pg_type",
     "SELECT oid, typname, typnamespace, typowner, typlen, typbyval, typtype, typcategory, "
     "typispreferred, typisdefined, typdelim, typrelid FROM bench_type",
     0},
};

static volatile uint64_t sink; /* so that no read is optimized away */

static void fail(PGconn *pg, const char *what) {
  fprintf(stderr, "libpq: %s: %s", what, PQerrorMessage(pg));
  exit(1);
}

static uint64_t read_field(Oid type, const char *p, int len) {
  uint32_t u;
  uint16_t s;
  uint64_t sum = 0;
  switch (type) {
    case INT4:
    case OID: memcpy(&u, p, 4); return ntohl(u);
    case INT2: memcpy(&s, p, 2); return ntohs(s);
    case BOOL: return (uint64_t)*p;
    default:
      for (int i = 0; i < len; i++) sum += (unsigned char)p[i];
      return sum;
  }
}

static void read_result(const PGresult *res) {
  int rows = PQntuples(res), cols = PQnfields(res);
  Oid types[16];
  for (int j = 0; j < cols; j++) types[j] = PQftype(res, j);
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < cols; j++)
      if (!PQgetisnull(res, i, j))
        sink += read_field(types[j], PQgetvalue(res, i, j), PQgetlength(res, i, j));
}

static void run(PGconn *pg, const Case *c, int count) {
  uint32_t id = htonl(1);
  const char *values[] = {(const char *)&id};
  const int lengths[] = {4}, formats[] = {1};
  for (int i = 0; i < count; i++) {
    PGresult *res = PQexecPrepared(pg, c->name, c->nparams, values, lengths, formats, 1);
    if (PQresultStatus(res) != PGRES_TUPLES_OK) fail(pg, c->name);
    read_result(res);
    PQclear(res);
  }
}

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(PGconn *pg, const Case *c, int count) {
  PQclear(PQprepare(pg, c->name, c->sql, 0, NULL));
  run(pg, c, count / 10 + 1);
  double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
  run(pg, c, count);
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, wall = seconds(CLOCK_MONOTONIC) - wall;
  printf("%s %.3f %.3f\n", c->name, cpu * 1e6 / count, wall * 1e6 / count);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  PGconn *pg = PQconnectdb(argv[1]);
  if (PQstatus(pg) != CONNECTION_OK) fail(pg, "no connection");
  for (int a = 2; a < argc; a++) {
    size_t length = strcspn(argv[a], "=");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
      if (strlen(cases[i].name) == length && strncmp(argv[a], cases[i].name, length) == 0)
        measure(pg, &cases[i], atoi(argv[a] + length + 1));
  }
  PQfinish(pg);
  return 0;
}
