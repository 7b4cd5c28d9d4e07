/* SPDX-License-Identifier: MIT
 *
 * connect.c: beginning a connection, and what libpq knows of the server that is meant.
 *
 * PostgreSQL manual: "Database Connection Control Functions" of libpq.
 */
#include <stdlib.h>

#include "buffer.h"
#include "conn.h"
#include "error.h"
#include "process.h"
#include "notice.h"
#include "raise.h"
#include "surface.h"

extern char **environ;

/* ---- libpq's environment ------------------------------------------------------------------ */

/* libpq reads PGHOSTADDR, PGSERVICE, PGOPTIONS, PGTZ, … whatever keywords it is given, when a connection
 * begins and when it sends its first packet.  A connection that is to be free of them is driven with an
 * environment that lacks them; other threads find everything else in it meanwhile. */
typedef struct {
  char **saved, **without;
} hidden;

static hidden hide_environment(lua_State *L, int bare) {
  hidden h = {environ, NULL};
  size_t n = 0, kept = 0;
  if (!bare) return h;
  while (environ && environ[n]) n++;
  h.without = malloc((n + 1) * sizeof *h.without);
  if (!h.without) luaL_error(L, "not enough memory");
  for (size_t i = 0; i < n; i++)
    if (strncmp(environ[i], "PG", 2) != 0) h.without[kept++] = environ[i];
  h.without[kept] = NULL;
  environ = h.without;
  return h;
}

static void show_environment(hidden h) {
  if (!h.without) return;
  environ = h.saved;
  free(h.without);
}

/* ---- connecting --------------------------------------------------------------------------- */

/* The server's notices all have a SQLSTATE.  One without is libpq's own: it was sent what nobody asked for.
 * What comes while nothing was asked is a notice to libpq, the server's last words too. */
static void take_notice(void *arg, const PGresult *res) {
  fpg_conn *c = arg;
  if (c->hears) fpg_keep_notice(c, res);
  fpg_note_commit(c, res);
  if (c->connected && !PQresultErrorField(res, PG_DIAG_SQLSTATE)) c->doubtful = 1;
  const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)) c->dying = 1;
}

enum { MAX_KEYWORDS = 62 };

/* What libpq takes, out of the table at idx, which keeps the strings; room for one more and the end. */
typedef struct {
  const char *keywords[MAX_KEYWORDS + 2], *values[MAX_KEYWORDS + 2];
  int n;
} parameters;

static void read_parameters(lua_State *L, int idx, parameters *p) {
  luaL_checktype(L, idx, LUA_TTABLE);
  memset(p, 0, sizeof *p);
  lua_pushnil(L);
  while (lua_next(L, idx)) {
    if (p->n == MAX_KEYWORDS) fpg_raise(L, "invalid_argument", "too many connection keywords");
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
      fpg_raise(L, "invalid_argument", "connection keywords and values are strings");
    p->keywords[p->n] = lua_tostring(L, -2);
    p->values[p->n++] = lua_tostring(L, -1);
    lua_pop(L, 1);
  }
}

/* core.connect({ keyword = text, ... }, bare) -> connection, under way: drive it with connect_step; bare:
 * libpq's environment variables don't count */
static int core_connect(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  fpg_conn *c = fpg_newuserdata(L, sizeof *c);
  memset(c, 0, sizeof *c);
  c->bare = lua_toboolean(L, 2);
  luaL_setmetatable(L, FPG_CONN_MT);
  int self = lua_gettop(L);
  lua_createtable(L, 4, 0); /* anchors of the two arenas, the holder, and which statements were used last */
  c->buf = fpg_buf_new(L);
  lua_rawseti(L, -2, 1);
  c->argv = fpg_buf_new(L);
  lua_rawseti(L, -2, 2);
  c->recent.nodes = fpg_buf_new(L);
  lua_rawseti(L, -2, 4);
  fpg_setuservalue(L, self);
  parameters p;
  read_parameters(L, 1, &p);
  c->owner = fpg_process_id();
  fpg_conn_enlist(L, c);
  hidden h = hide_environment(L, c->bare);
  c->pg = PQconnectStartParams(p.keywords, p.values, 0); /* a dbname is a name, not a conninfo */
  show_environment(h);
  if (!c->pg) return luaL_error(L, "not enough memory");
  PQsetNoticeReceiver(c->pg, take_notice, c);
  PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE); /* the only way to the SQLSTATE of a refusal */
  lua_settop(L, self);
  return 1;
}

/* conn:connect_step() -> "r" / "w" to wait for (it must not be called before the socket is ready), true
 * when connected; else false, libpq's message, and whether a server was reached, which then refused */
static int conn_connect_step(lua_State *L) {
  fpg_conn *c = fpg_check_conn(L, 1);
  ConnStatusType at = PQstatus(c->pg);
  int reached = at != CONNECTION_BAD && at != CONNECTION_STARTED && at != CONNECTION_NEEDED;
  if (!c->begun && at != CONNECTION_BAD) { /* looked at too early libpq takes it for connected */
    c->begun = 1;
    lua_pushliteral(L, "w");
    return 1;
  }
  hidden h = hide_environment(L, c->bare);
  PostgresPollingStatusType state = at == CONNECTION_BAD ? PGRES_POLLING_FAILED : PQconnectPoll(c->pg);
  show_environment(h);
  switch (state) {
    case PGRES_POLLING_READING: lua_pushliteral(L, "r"); return 1;
    case PGRES_POLLING_WRITING: lua_pushliteral(L, "w"); return 1;
    case PGRES_POLLING_OK:
      PQsetnonblocking(c->pg, 1);
      PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
      c->connected = 1;
      c->plain_socket = !PQsslInUse(c->pg) && !PQgssEncInUse(c->pg);
      lua_pushboolean(L, 1);
      return 1;
    default:
      lua_pushboolean(L, 0);
      lua_pushstring(L, PQerrorMessage(c->pg));
      lua_pushboolean(L, reached);
      return 3;
  }
}

/* ---- conninfo ----------------------------------------------------------------------------- */

#define OPTIONS_MT "fastpg.conninfo"

static void free_options(PQconninfoOption **box) {
  PQconninfoFree(*box);
  *box = NULL;
}

static int options_gc(lua_State *L) {
  free_options(lua_touserdata(L, 1));
  return 0;
}

/* Pushes what will own libpq's list of options. */
static PQconninfoOption **push_options(lua_State *L) {
  PQconninfoOption **box = fpg_newuserdata(L, sizeof *box);
  *box = NULL;
  luaL_setmetatable(L, OPTIONS_MT);
  return box;
}

static void add_options(lua_State *L, const PQconninfoOption *options) {
  for (const PQconninfoOption *o = options; o && o->keyword; o++) {
    if (!o->val) continue;
    lua_pushstring(L, o->val);
    lua_setfield(L, -2, o->keyword);
  }
}

/* core.conninfo_parse(text) -> { keyword = value } of a conninfo string or URI, or nil.  Not why:
 * libpq's message can quote a piece of the string, and with it a password. */
static int core_conninfo_parse(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  PQconninfoOption **box = push_options(L);
  lua_newtable(L);
  *box = PQconninfoParse(text, NULL);
  if (!*box) return 0;
  add_options(L, *box);
  free_options(box);
  return 1;
}

/* core.conninfo_defaults() -> what the environment and libpq give; nil keyword list second */
static int core_conninfo_defaults(lua_State *L) {
  PQconninfoOption **box = push_options(L);
  lua_newtable(L);
  *box = PQconndefaults();
  add_options(L, *box);
  lua_newtable(L);
  for (const PQconninfoOption *o = *box; o && o->keyword; o++) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, o->keyword);
  }
  free_options(box);
  return 2;
}

/* Whether libpq says not to show the option, or ought to. */
static int is_secret(const PQconninfoOption *o) {
  static const char *const more[] = {"scram_client_key", "scram_server_key", "oauth_client_secret"};
  for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
    if (strcmp(o->keyword, more[i]) == 0) return 1;
  return o->dispchar && *o->dispchar == '*';
}

/* core.conninfo_secrets() -> { keyword = true } of those that nobody may see */
static int core_conninfo_secrets(lua_State *L) {
  PQconninfoOption **box = push_options(L);
  lua_newtable(L);
  *box = PQconndefaults();
  for (const PQconninfoOption *o = *box; o && o->keyword; o++) {
    if (!is_secret(o)) continue;
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, o->keyword);
  }
  free_options(box);
  return 1;
}

/* What libpq makes of the parameters with the environment and service files, where `stop` is impossible:
 * it reads all of them and gives up. */
static void resolve(lua_State *L, PQconninfoOption **box, parameters *p, const char *stop, int bare) {
  p->keywords[p->n] = stop;
  p->values[p->n] = "none of libpq's";
  hidden h = hide_environment(L, bare);
  PGconn *pg = PQconnectStartParams(p->keywords, p->values, 0);
  show_environment(h);
  *box = PQconninfo(pg);
  PQfinish(pg);
  if (!pg || !*box) luaL_error(L, "not enough memory");
}

/* Adds what is neither a secret nor libpq's default to the table on top; of `only`, where that is given. */
static void add_chosen(lua_State *L, const PQconninfoOption *o, const char *only, const char *but) {
  for (; o->keyword; o++) {
    if (!o->val || !*o->val || is_secret(o) || strcmp(o->keyword, but) == 0) continue;
    if (only && strcmp(o->keyword, only) != 0) continue;
    if (o->compiled && strcmp(o->val, o->compiled) == 0) continue;
    lua_pushstring(L, o->val);
    lua_setfield(L, -2, o->keyword);
  }
}

/* core.conninfo_resolved{ keyword = text, ... } -> all that is known of the connection and is not libpq's
 * default, with what the environment and service files add; no secrets */
static int core_conninfo_resolved(lua_State *L) {
  parameters p;
  read_parameters(L, 1, &p);
  PQconninfoOption **box = push_options(L);
  lua_newtable(L);
  resolve(L, box, &p, "sslmode", 0); /* libpq looks at channel_binding before it */
  add_chosen(L, *box, NULL, "sslmode");
  free_options(box);
  resolve(L, box, &p, "channel_binding", 0);
  add_chosen(L, *box, "sslmode", "");
  free_options(box);
  return 1;
}

/* core.conninfo_effective({ keyword = text, ... }, bare) -> what of it decides on the servers to be tried, with
 * what the environment and service files add; nil where libpq can't make sense of it.  libpq tells
 * that of a connection only: one with an impossible sslmode gets as far as reading all of it. */
static int core_conninfo_effective(lua_State *L) {
  static const char *const wanted[] = {"host", "hostaddr", "port", "connect_timeout",
                                       "target_session_attrs", "load_balance_hosts"};
  parameters p;
  read_parameters(L, 1, &p);
  PQconninfoOption **box = push_options(L);
  resolve(L, box, &p, "sslmode", lua_toboolean(L, 2));
  int understood = 0;
  lua_newtable(L);
  for (const PQconninfoOption *o = *box; o->keyword; o++) {
    if (!o->val) continue;
    if (strcmp(o->keyword, "sslmode") == 0) understood = strcmp(o->val, p.values[p.n]) == 0;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
      if (strcmp(o->keyword, wanted[i]) != 0) continue;
      lua_pushstring(L, o->val);
      lua_setfield(L, -2, o->keyword);
    }
  }
  free_options(box);
  return understood;
}

static const luaL_Reg methods[] = {
    {"connect_step", conn_connect_step},
    {NULL, NULL},
};

static const luaL_Reg core_functions[] = {
    {"connect", core_connect},
    {"conninfo_parse", core_conninfo_parse},
    {"conninfo_defaults", core_conninfo_defaults},
    {"conninfo_effective", core_conninfo_effective},
    {"conninfo_resolved", core_conninfo_resolved},
    {"conninfo_secrets", core_conninfo_secrets},
    {NULL, NULL},
};

void fpg_open_connect(lua_State *L) {
  fpg_add_methods(L, FPG_CONN_MT, methods);
  luaL_newmetatable(L, OPTIONS_MT);
  lua_pushcfunction(L, options_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_setfuncs(L, core_functions, 0);
}
