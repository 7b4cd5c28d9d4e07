/* SPDX-License-Identifier: MIT
 *
 * typemap.c: see typemap.h.
 *
 * An entry is a userdata: the type, behind it its fields' types.  The map's user value is the list
 * of its entries, which keeps them; a hash of oids finds them.  Two passes define a batch of types:
 * all entries are made, then linked, so that types may name one another in any order.
 */
#include "typemap.h"

#include "buffer.h"
#include "codec_array.h"
#include "codec_composite.h"
#include "codec_hstore.h"
#include "codec_other.h"
#include "codec_range.h"
#include "codec_scalar.h"
#include "codec_text.h"
#include "codec_user.h"
#include "number.h"
#include "types.h"

#define TYPEMAP_MT "fastpg.typemap"
#define BUCKETS 64

typedef struct entry {
  fpg_type type;
  struct entry *next;
  uint32_t elem_oid;
  const char *kind; /* its name in the definition under way */
  const fpg_type *fields[];
} entry;

struct fpg_typemap {
  entry *buckets[BUCKETS];
  int count;
};

static fpg_typemap *check_map(lua_State *L, int idx) { return luaL_checkudata(L, idx, TYPEMAP_MT); }

const fpg_typemap *fpg_check_typemap(lua_State *L, int idx) {
  return lua_isnoneornil(L, idx) ? NULL : check_map(L, idx);
}

const fpg_type *fpg_typemap_find(const fpg_typemap *map, uint32_t oid) {
  if (map)
    for (const entry *e = map->buckets[oid % BUCKETS]; e; e = e->next)
      if (e->type.oid == oid) return &e->type;
  return fpg_type_find(oid);
}

/* The maps there are, by address, in a table with weak values: what decodes knows the address alone. */
static const char maps_key = 0;

static void push_map(lua_State *L, const fpg_typemap *map) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &maps_key);
  lua_rawgetp(L, -1, map);
  lua_remove(L, -2);
}

const fpg_finder fpg_typemap_finder = {fpg_typemap_find, push_map};

/* The data tables of types are kept in the registry by address: they go with the map. */
static int typemap_gc(lua_State *L) {
  fpg_typemap *map = check_map(L, 1);
  for (int i = 0; i < BUCKETS; i++)
    for (entry *e = map->buckets[i]; e; e = e->next) {
      lua_pushnil(L);
      lua_rawsetp(L, LUA_REGISTRYINDEX, &e->type);
    }
  memset(map->buckets, 0, sizeof map->buckets);
  return 0;
}

/* ---- defining ----------------------------------------------------------------------------- */

static uint32_t field_oid(lua_State *L, int idx, const char *field) {
  int64_t v = 0;
  lua_getfield(L, idx, field);
  fpg_to_int64(L, -1, &v);
  lua_pop(L, 1);
  return (uint32_t)v;
}

static const fpg_type *find_or_other(const fpg_typemap *map, uint32_t oid) {
  const fpg_type *type = fpg_typemap_find(map, oid);
  return type ? type : &fpg_type_other;
}

/* What the kinds that a definition may name are read and written by. */
static const struct {
  const char *name;
  int kind;
  fpg_decode_fn *decode_binary, *decode_text;
  fpg_encode_fn *encode, *encode_text;
  fpg_pack_fn *pack;
} kinds[] = {
    {"array", FPG_KIND_ARRAY, fpg_array_decode_binary, fpg_array_decode_text, fpg_array_encode,
     fpg_array_encode_text, NULL},
    {"composite", FPG_KIND_COMPOSITE, fpg_composite_decode_binary, fpg_composite_decode_text,
     fpg_composite_encode, fpg_composite_encode_text, NULL},
    {"range", FPG_KIND_RANGE, fpg_range_decode_binary, fpg_range_decode_text, fpg_range_encode,
     fpg_range_encode_text, NULL},
    {"multirange", FPG_KIND_MULTIRANGE, fpg_multirange_decode_binary, fpg_multirange_decode_text,
     fpg_multirange_encode, fpg_multirange_encode_text, NULL},
    {"enum", FPG_KIND_TEXT, fpg_bytes_decode, fpg_bytes_decode, fpg_any_encode, fpg_any_encode, NULL},
    {"text", FPG_KIND_TEXT, fpg_bytes_decode, fpg_bytes_decode, fpg_any_encode, fpg_any_encode, NULL}, /* citext */
    {"versioned", FPG_KIND_OTHER, fpg_versioned_decode_binary, fpg_bytes_decode, fpg_any_encode,
     fpg_any_encode, fpg_versioned_pack},
    {"hstore", FPG_KIND_HSTORE, fpg_hstore_decode_binary, fpg_hstore_decode_text, fpg_hstore_encode,
     fpg_hstore_encode_text, NULL},
    {"other", FPG_KIND_OTHER, NULL, fpg_bytes_decode, fpg_any_encode, fpg_any_encode, NULL},
    {"user", FPG_KIND_OTHER, NULL, fpg_user_decode_text, fpg_user_encode, fpg_user_encode, NULL},
};

/* A codec of the user's: what it reads and writes is the user's to say. */
enum {
  USER_READS = FPG_READ_BY_USER,
  USER_WRITES = FPG_WRITTEN_BY_USER | FPG_STRING_IS_VALUE | FPG_TAKES_LISTS
};

static void set_kind(lua_State *L, fpg_type *type, const char *name) {
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    if (strcmp(kinds[i].name, name) != 0) continue;
    type->kind = (uint16_t)kinds[i].kind;
    type->traits = fpg_traits_of[kinds[i].kind];
    type->decode_binary = kinds[i].decode_binary;
    type->decode_text = kinds[i].decode_text;
    type->encode = kinds[i].encode;
    type->encode_text = kinds[i].encode_text;
    type->pack = kinds[i].pack;
    return;
  }
  luaL_error(L, "unknown kind of type: %s", name);
}

/* Makes the entry of the definition at idx and puts it into the map. */
static entry *make_entry(lua_State *L, fpg_typemap *map, int def, int anchors) {
  lua_getfield(L, def, "fields");
  int nfields = lua_type(L, -1) == LUA_TTABLE ? (int)lua_rawlen(L, -1) : 0;
  lua_pop(L, 1);
  size_t size = sizeof(entry) + (size_t)nfields * sizeof(fpg_type *);
  entry *e = fpg_newuserdata(L, size);
  memset(e, 0, size);
  lua_rawseti(L, anchors, (int)lua_rawlen(L, anchors) + 1);
  e->type.oid = field_oid(L, def, "oid");
  e->elem_oid = field_oid(L, def, "elem");
  e->type.nfields = nfields;
  e->type.fields = nfields ? e->fields : NULL;
  lua_getfield(L, def, "name");
  e->type.name = luaL_checkstring(L, -1);
  lua_rawseti(L, anchors, (int)lua_rawlen(L, anchors) + 1);
  lua_getfield(L, def, "kind");
  e->kind = luaL_checkstring(L, -1);
  lua_pop(L, 1); /* anchored by the definition for as long as it is needed */
  lua_getfield(L, def, "data");
  if (lua_isnil(L, -1))
    lua_pop(L, 1);
  else
    lua_rawsetp(L, LUA_REGISTRYINDEX, &e->type);
  e->next = map->buckets[e->type.oid % BUCKETS];
  map->buckets[e->type.oid % BUCKETS] = e;
  map->count++;
  return e;
}

static void link_entry(lua_State *L, fpg_typemap *map, entry *e, int def) {
  if (strcmp(e->kind, "domain") == 0) return;
  set_kind(L, &e->type, e->kind);
  if (e->elem_oid) e->type.elem = find_or_other(map, e->elem_oid);
  if (!e->type.nfields) return;
  lua_getfield(L, def, "fields");
  for (int i = 0; i < e->type.nfields; i++) {
    int64_t oid = 0;
    lua_rawgeti(L, -1, i + 1);
    fpg_to_int64(L, -1, &oid);
    lua_pop(L, 1);
    e->fields[i] = find_or_other(map, (uint32_t)oid);
  }
  lua_pop(L, 1);
}

static int has_function(lua_State *L, int def, const char *name) {
  lua_getfield(L, def, "data");
  lua_getfield(L, -1, name);
  int has = lua_type(L, -1) == LUA_TFUNCTION;
  lua_pop(L, 2);
  return has;
}

/* What a type is without its codec of the user's: a built-in one, or of the kind that the definition
 * names as `base`. */
static void find_base(lua_State *L, const fpg_typemap *map, const entry *e, int def, fpg_type *base) {
  const fpg_type *known = fpg_type_find(e->type.oid);
  lua_getfield(L, def, "base");
  const char *kind = lua_tostring(L, -1);
  if (kind && strcmp(kind, "domain") == 0) known = find_or_other(map, e->elem_oid);
  if (!known) known = &fpg_type_other;
  *base = *known;
  if (kind && strcmp(kind, "domain") != 0) {
    set_kind(L, base, kind);
    base->elem = e->type.elem;
    base->fields = e->type.fields;
    base->nfields = e->type.nfields;
  }
  lua_pop(L, 1);
}

/* A codec of the user's that only reads, or only writes, leaves the other way as it was.  What is read is
 * text in any case: the codec knows no other form. */
static void link_user(lua_State *L, fpg_typemap *map, entry *e, int def) {
  if (strcmp(e->kind, "user") != 0) return;
  int reads = has_function(L, def, "decode"), writes = has_function(L, def, "encode");
  fpg_type base;
  find_base(L, map, e, def, &base);
  e->type.kind = base.kind;
  e->type.traits = (uint16_t)((reads ? USER_READS : base.traits & FPG_READING) |
                              (writes ? USER_WRITES : base.traits & FPG_WRITING) |
                              (base.traits & FPG_SEMICOLON));
  if (reads && writes) return;
  if (!reads) e->type.decode_text = base.decode_text;
  if (!writes) {
    e->type.encode = base.encode;
    e->type.encode_text = base.encode_text;
    e->type.pack = base.pack;
  }
  e->type.elem = base.elem;
  e->type.fields = base.fields;
  e->type.nfields = base.nfields;
}

/* A domain is its base type under another oid, with what that has beyond its row. */
static void link_domain(lua_State *L, fpg_typemap *map, entry *e) {
  if (strcmp(e->kind, "domain") != 0) return;
  const fpg_type *base = find_or_other(map, e->elem_oid);
  uint32_t oid = e->type.oid;
  const char *name = e->type.name;
  e->type = *base;
  e->type.oid = oid;
  e->type.name = name;
  fpg_type_push_data(L, base);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &e->type);
}

/* typemap:define{ { oid =, name =, kind =, elem = oid, fields = { oids }, data = table }, … }: a
 * domain's elem is the type below all domains; one of kind "user" that is not built in has its kind as
 * `base` */
static int typemap_define(lua_State *L) {
  fpg_typemap *map = check_map(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  fpg_getuservalue(L, 1);
  int anchors = lua_gettop(L), n = (int)lua_rawlen(L, 2);
  fpg_buf *made = fpg_buf_new(L);
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    entry *e = make_entry(L, map, lua_gettop(L), anchors);
    fpg_buf_put(L, made, &e, sizeof e);
    lua_pop(L, 1);
  }
  entry **list = (entry **)(void *)made->data;
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    link_entry(L, map, list[i - 1], lua_gettop(L));
    lua_pop(L, 1);
  }
  for (int i = 1; i <= n; i++) {
    lua_rawgeti(L, 2, i);
    link_user(L, map, list[i - 1], lua_gettop(L));
    lua_pop(L, 1);
  }
  for (int i = 0; i < n; i++) link_domain(L, map, list[i]);
  for (int i = 0; i < n; i++) list[i]->kind = NULL;
  return 0;
}

/* typemap:knows(oid) -> whether the map or the core has it */
static int typemap_knows(lua_State *L) {
  int64_t oid = 0;
  fpg_to_int64(L, 2, &oid);
  lua_pushboolean(L, fpg_typemap_find(check_map(L, 1), (uint32_t)oid) != NULL);
  return 1;
}

/* core.type_kind(map or nil, oid) -> its kind (fpg_type_kind), of an array also the oid of its
 * elements and what is between them; nil when the type is not known */
static int core_type_kind(lua_State *L) {
  int64_t oid = 0;
  const fpg_typemap *map = fpg_check_typemap(L, 1);
  fpg_to_int64(L, 2, &oid);
  const fpg_type *type = fpg_typemap_find(map, (uint32_t)oid);
  if (!type) return 0;
  const char *kind = fpg_type_kind(type);
  lua_pushstring(L, kind);
  if (strcmp(kind, "array") != 0) return 1;
  char delimiter = fpg_array_delimiter(type);
  fpg_push_int64(L, type->elem->oid);
  lua_pushlstring(L, &delimiter, 1);
  return 3;
}

/* core.type_name(map or nil, oid) -> the name of the type, as messages show it; nil when it is not known */
static int core_type_name(lua_State *L) {
  int64_t oid = 0;
  const fpg_typemap *map = fpg_check_typemap(L, 1);
  fpg_to_int64(L, 2, &oid);
  const fpg_type *type = fpg_typemap_find(map, (uint32_t)oid);
  lua_pushstring(L, type ? type->name : NULL);
  return 1;
}

/* core.typemap() -> an empty map */
static int core_typemap(lua_State *L) {
  fpg_typemap *map = fpg_newuserdata(L, sizeof *map);
  memset(map, 0, sizeof *map);
  luaL_setmetatable(L, TYPEMAP_MT);
  lua_newtable(L);
  fpg_setuservalue(L, -2);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &maps_key);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, map);
  lua_pop(L, 1);
  return 1;
}

/* core.set_type_data(oid, table): what a built-in type has beyond its row */
static int core_set_type_data(lua_State *L) {
  int64_t oid = 0;
  fpg_to_int64(L, 1, &oid);
  const fpg_type *type = fpg_type_find((uint32_t)oid);
  if (!type) return luaL_error(L, "no built-in type has this oid");
  lua_settop(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, type);
  return 0;
}

static const luaL_Reg typemap_methods[] = {
    {"define", typemap_define},
    {"knows", typemap_knows},
    {NULL, NULL},
};

void fpg_open_typemap(lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &maps_key);
  luaL_newmetatable(L, TYPEMAP_MT);
  lua_pushliteral(L, TYPEMAP_MT);
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, typemap_gc);
  lua_setfield(L, -2, "__gc");
  lua_newtable(L);
  luaL_setfuncs(L, typemap_methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, core_typemap);
  lua_setfield(L, -2, "typemap");
  lua_pushcfunction(L, core_type_kind);
  lua_setfield(L, -2, "type_kind");
  lua_pushcfunction(L, core_type_name);
  lua_setfield(L, -2, "type_name");
  lua_pushcfunction(L, core_set_type_data);
  lua_setfield(L, -2, "set_type_data");
}
