/* SPDX-License-Identifier: MIT
 *
 * error.c: error objects from libpq results.
 *
 * Fields: PostgreSQL manual, "Error and Notice Message Fields" (protocol-error-fields).  The
 * server's detail can hold values of a row, so it is a field and never part of tostring.
 */
#include "error.h"

#include <string.h>

#include "buffer.h"
#include "raise.h"

typedef struct {
  const char *code, *name;
} sqlstate;

static const sqlstate sqlstates[] = {
#define FPG_SQLSTATE(code, name) {code, name},
#define FPG_SQLCLASS(code, name)
#include "sqlstates.def"
#undef FPG_SQLSTATE
#undef FPG_SQLCLASS
};

static const sqlstate sqlclasses[] = {
#define FPG_SQLSTATE(code, name)
#define FPG_SQLCLASS(code, name) {code, name},
#include "sqlstates.def"
#undef FPG_SQLSTATE
#undef FPG_SQLCLASS
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *sqlstate_name(const char *code) {
  for (size_t i = 0; i < COUNT(sqlstates); i++)
    if (strcmp(sqlstates[i].code, code) == 0) return sqlstates[i].name;
  for (size_t i = 0; i < COUNT(sqlclasses); i++)
    if (strncmp(sqlclasses[i].code, code, 2) == 0) return sqlclasses[i].name;
  return "error";
}

static const struct {
  const char *field;
  int code;
} fields[] = {
    {"severity", PG_DIAG_SEVERITY_NONLOCALIZED},
    {"sqlstate", PG_DIAG_SQLSTATE},
    {"message", PG_DIAG_MESSAGE_PRIMARY},
    {"detail", PG_DIAG_MESSAGE_DETAIL},
    {"hint", PG_DIAG_MESSAGE_HINT},
    {"internal_query", PG_DIAG_INTERNAL_QUERY},
    {"context", PG_DIAG_CONTEXT},
    {"schema_name", PG_DIAG_SCHEMA_NAME},
    {"table_name", PG_DIAG_TABLE_NAME},
    {"column_name", PG_DIAG_COLUMN_NAME},
    {"datatype_name", PG_DIAG_DATATYPE_NAME},
    {"constraint_name", PG_DIAG_CONSTRAINT_NAME},
    {"source_file", PG_DIAG_SOURCE_FILE},
    {"source_line", PG_DIAG_SOURCE_LINE},
    {"source_function", PG_DIAG_SOURCE_FUNCTION},
};

const char *fpg_diag_name(int code) {
  for (size_t i = 0; i < COUNT(fields); i++)
    if (fields[i].code == code) return fields[i].field;
  return NULL;
}

int fpg_diag_code(size_t n) { return n < COUNT(fields) ? fields[n].code : 0; }

static void set_position(lua_State *L, const PGresult *res, int code, const char *field) {
  const char *s = PQresultErrorField(res, code);
  if (!s) return;
  lua_pushstring(L, s);
  lua_pushinteger(L, lua_tointeger(L, -1));
  lua_setfield(L, -3, field);
  lua_pop(L, 1);
}

/* libpq's own messages end in a newline and may run over several lines. */
static void push_one_line(lua_State *L, const char *s) {
  size_t len = strlen(s);
  while (len && (s[len - 1] == '\n' || s[len - 1] == ' ')) len--;
  fpg_buf *b = fpg_buf_new(L);
  for (size_t i = 0; i < len; i++) {
    if (s[i] == '\n' || s[i] == '\t') {
      if (b->len && b->data[b->len - 1] != ' ') fpg_buf_putc(L, b, ' ');
    } else {
      fpg_buf_putc(L, b, s[i]);
    }
  }
  lua_pushlstring(L, b->data ? b->data : "", b->len);
  lua_remove(L, -2);
}

void fpg_push_conn_error(lua_State *L, const PGconn *pg) {
  push_one_line(L, PQerrorMessage(pg));
  const char *message = lua_tostring(L, -1);
  fpg_push_error(L, "connection", "%s", *message ? message : "the connection is lost");
  lua_remove(L, -2);
}

/* (Poolers have one severity only, that which a server translates.) */
static const char *field_of(const PGresult *res, int code) {
  const char *s = PQresultErrorField(res, code);
  return s || code != PG_DIAG_SEVERITY_NONLOCALIZED ? s : PQresultErrorField(res, PG_DIAG_SEVERITY);
}

void fpg_push_result_error(lua_State *L, const PGconn *pg, const PGresult *res) {
  const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);
  if (!code) {
    int lost = PQstatus(pg) == CONNECTION_BAD;
    const char *text = PQresultErrorMessage(res);
    push_one_line(L, *text ? text : PQerrorMessage(pg));
    fpg_push_error(L, lost ? "connection" : "error", "%s", lua_tostring(L, -1));
    lua_remove(L, -2);
    return;
  }
  /* with a FATAL the connection ends, whatever the reason: that is its name, the SQLSTATE tells the rest */
  const char *severity = field_of(res, PG_DIAG_SEVERITY_NONLOCALIZED);
  int over = severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
  fpg_push_error(L, over ? "connection" : sqlstate_name(code), "%s", "");
  for (size_t i = 0; i < COUNT(fields); i++) {
    const char *s = field_of(res, fields[i].code);
    if (!s) continue;
    lua_pushstring(L, s);
    lua_setfield(L, -2, fields[i].field);
  }
  set_position(L, res, PG_DIAG_STATEMENT_POSITION, "position");
  set_position(L, res, PG_DIAG_INTERNAL_POSITION, "internal_position");
}

static void add_names(lua_State *L, const sqlstate *list, size_t n, const char *field) {
  lua_createtable(L, 0, (int)n);
  for (size_t i = 0; i < n; i++) {
    lua_pushstring(L, list[i].name);
    lua_setfield(L, -2, list[i].code);
  }
  lua_setfield(L, -2, field);
}

/* core.sqlstate_of(name) -> the SQLSTATE whose condition has that name, or nil */
static int core_sqlstate_of(lua_State *L) {
  lua_pushstring(L, fpg_sqlstate_of(luaL_checkstring(L, 1)));
  return 1;
}

/* core.where() -> where the user's code called into fastpg: "script.lua:12", or nil */
static int core_where(lua_State *L) {
  fpg_push_where(L);
  return 1;
}

void fpg_open_error(lua_State *L) {
  add_names(L, sqlstates, COUNT(sqlstates), "sqlstates");
  add_names(L, sqlclasses, COUNT(sqlclasses), "sqlclasses");
  luaL_getmetatable(L, FPG_ERROR_MT);
  lua_setfield(L, -2, "Error");
  lua_pushcfunction(L, core_sqlstate_of);
  lua_setfield(L, -2, "sqlstate_of");
  lua_pushcfunction(L, core_where);
  lua_setfield(L, -2, "where");
}
