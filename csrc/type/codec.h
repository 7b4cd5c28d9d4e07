/* SPDX-License-Identifier: MIT
 *
 * codec.h: what a type is to the rest of the core.
 *
 * A type is one row of codecs.def (or an entry of a database's own typemap).  It has up to five functions: read
 * its binary form, read its text form, write its binary form, write its text form, turn its text into its
 * binary form.  A decoder gets exactly the bytes of one value, pushes exactly one Lua value and never reads
 * past p + len.  An encoder appends the value at the absolute index idx to `out`, leaves the stack as it
 * found it and says which form it wrote.
 *
 * What a type is (`kind`) and what is special about it (`traits`) is data in its row: nobody asks which
 * functions it has.
 */
#ifndef FASTPG_CODEC_H
#define FASTPG_CODEC_H

#include "buffer.h"

typedef struct fpg_type fpg_type;
typedef struct fpg_typemap fpg_typemap;

/* ---- what a type is ----------------------------------------------------------------------- */

/* What is special about a type.  The first group is about reading its values, the second about writing them: of a
 * type with a codec of the user's for one direction, the other keeps its own. */
enum {
  /* What the text of a value depends on: DateStyle, TimeZone, extra_float_digits, IntervalStyle (of which the
   * text tells itself what it is). */
  FPG_NEEDS_DATE_STYLE = 1,
  FPG_NEEDS_ZONE = 2,
  FPG_NEEDS_DIGITS = 4,
  FPG_NEEDS_INTERVAL_STYLE = 8,
  FPG_NEEDS = FPG_NEEDS_DATE_STYLE | FPG_NEEDS_ZONE | FPG_NEEDS_DIGITS | FPG_NEEDS_INTERVAL_STYLE,
  FPG_NAMES_TYPES = 16,  /* values name types themselves, in their binary form */
  FPG_READ_BY_USER = 32, /* by a function of the user's, from text */
  FPG_READING = FPG_NEEDS | FPG_NAMES_TYPES | FPG_READ_BY_USER,

  FPG_TAKES_TABLES = 64,       /* a Lua table can be one value: in an array it is an element */
  FPG_TAKES_LISTS = 128,       /* so can a list: in an array it is one more dimension only where that was said */
  FPG_STRING_IS_VALUE = 256,   /* a Lua string is a value, not the text of one */
  FPG_STRING_IS_BYTES = 512,   /* it is the value's binary form as it stands */
  FPG_WRITTEN_BY_USER = 1024,
  FPG_WRITING = FPG_TAKES_TABLES | FPG_TAKES_LISTS | FPG_STRING_IS_VALUE | FPG_STRING_IS_BYTES | FPG_WRITTEN_BY_USER,

  FPG_TEXT_IS_BINARY = 2048,  /* the binary form is any text itself (of bytea: the bytes) */
  FPG_VERSION_FIRST = 4096,   /* but for a byte before it, 1 */
  FPG_SERVER_PRINTS = 8192,   /* only the server knows how it prints a value: spaces, quotes, the order of keys, digits */
  FPG_SEMICOLON = 16384,      /* what is between the elements of an array: else a comma */
};

/* kind(NAME, what a value is when it is printed, traits) */
#define FPG_KINDS(kind)                                                                                          \
  kind(OTHER, "other", 0) /* read as the server prints it */                                                     \
  kind(TEXT, "other", FPG_TEXT_IS_BINARY)                                                                        \
  kind(NAME, "other", 0) kind(CHAR, "other", 0) /* of one byte */                                                \
  kind(BOOL, "other", 0)                                                                                         \
  kind(INT2, "integer", 0) kind(INT4, "integer", 0) kind(INT8, "integer", 0) kind(OID, "integer", 0)             \
  kind(FLOAT4, "float4", FPG_NEEDS_DIGITS | FPG_SERVER_PRINTS)                                                   \
  kind(FLOAT8, "float8", FPG_NEEDS_DIGITS)                                                                       \
  kind(NUMERIC, "other", 0)                                                                                      \
  kind(BYTEA, "bytea", FPG_TEXT_IS_BINARY | FPG_STRING_IS_VALUE | FPG_STRING_IS_BYTES)                           \
  kind(DATE, "other", FPG_NEEDS_DATE_STYLE) kind(TIME, "other", 0) kind(TIMETZ, "other", 0)                      \
  kind(TIMESTAMP, "other", FPG_NEEDS_DATE_STYLE)                                                                 \
  kind(TIMESTAMPTZ, "other", FPG_NEEDS_DATE_STYLE | FPG_NEEDS_ZONE)                                              \
  kind(INTERVAL, "other", FPG_NEEDS_INTERVAL_STYLE)                                                              \
  kind(JSON, "json", FPG_TEXT_IS_BINARY | FPG_STRING_IS_VALUE | FPG_TAKES_LISTS | FPG_SERVER_PRINTS)             \
  kind(JSONB, "json", FPG_TRAITS_JSON | FPG_VERSION_FIRST)                                                       \
  kind(POINT, "other", FPG_NEEDS_DIGITS | FPG_TAKES_TABLES) kind(LINE, "other", FPG_TRAITS_POINT)                \
  kind(LSEG, "other", FPG_TRAITS_POINT) kind(BOX, "other", FPG_TRAITS_POINT | FPG_SEMICOLON)                     \
  kind(CIRCLE, "other", FPG_TRAITS_POINT) kind(PATH, "other", FPG_TRAITS_POINT)                                  \
  kind(POLYGON, "other", FPG_TRAITS_POINT)                                                                       \
  kind(INET, "other", 0) kind(CIDR, "other", 0) kind(MACADDR, "other", 0) kind(MACADDR8, "other", 0)             \
  kind(INT2VECTOR, "other", 0) kind(OIDVECTOR, "other", 0)                                                       \
  kind(ARRAY, "array", FPG_TAKES_LISTS)                                                                          \
  kind(COMPOSITE, "composite", FPG_NAMES_TYPES) kind(RECORD, "other", FPG_NAMES_TYPES)                           \
  kind(RANGE, "other", FPG_TAKES_TABLES) kind(MULTIRANGE, "other", FPG_TAKES_LISTS)                              \
  kind(HSTORE, "hstore", FPG_TAKES_LISTS | FPG_SERVER_PRINTS)

enum {
#define FPG_KIND(name, printed, traits) FPG_KIND_##name,
  FPG_KINDS(FPG_KIND)
#undef FPG_KIND
  FPG_KIND_COUNT
};

enum {
#define FPG_KIND(name, printed, its_traits) FPG_TRAITS_##name = its_traits,
  FPG_KINDS(FPG_KIND)
#undef FPG_KIND
};

extern const uint16_t fpg_traits_of[FPG_KIND_COUNT];

/* ---- reading and writing ------------------------------------------------------------------- */

/* What stands above the codecs (typemap.c) and is handed down to them. */
typedef struct fpg_finder {
  /* The type with that oid, of the map or built in; NULL when neither has it.  map may be NULL. */
  const fpg_type *(*find)(const fpg_typemap *map, uint32_t oid);
  /* Pushes the map as Lua knows it, nil for NULL. */
  void (*push)(lua_State *L, const fpg_typemap *map);
} fpg_finder;

/* The session's time zone, looked for when the first value needs it: those of most statements don't. */
typedef struct fpg_zone_memo {
  const char *(*push_name)(lua_State *L, const void *session); /* pushes its name, which is never NULL */
  const void *session;
  const struct fpg_tz *zone; /* NULL where it can't be loaded: */
  int looked;                /* it is not looked for again meanwhile */
} fpg_zone_memo;

/* What a codec may know of its surroundings. */
typedef struct fpg_ctx {
  fpg_zone_memo *zone;  /* of the session */
  int server;           /* its version, as 150004 */
  int date_order;       /* FPG_ORDER_* of the server's text (datestyle.h) */
  int zone_changed;     /* its text may be of another TimeZone */
  int param;            /* the number of the parameter being encoded, 0 otherwise */
  int args;             /* the list of arguments on the stack, which may know their columns; or 0 */
  const int *path;      /* of an element of an array: its position, one number per dimension */
  int depth;            /* how many */
  int nesting;          /* of a value being decoded: how many composites it is inside of */
  const fpg_typemap *types; /* the database's own types, or NULL */
  const void *texts;        /* where the registry has the texts of what is read as text only; or NULL */
  const void *ready;        /* where the registry has the values that were read in slices (codec_slice.h); or NULL */
  const fpg_finder *finder; /* finds them, and those that are built in */
} fpg_ctx;

/* Pushes the value whose bytes are at p, where it is ready; else nothing, and gives 0.  (What has so many bytes may be.) */
int fpg_push_ready(lua_State *L, const fpg_ctx *cx, const char *p);
enum { FPG_LONG_VALUE = 16 * 1024 };

enum { FPG_TEXT = 0, FPG_BINARY = 1 };

typedef void fpg_decode_fn(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len);
typedef int fpg_encode_fn(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                          fpg_buf *out);

/* Appends the binary form of a text (UTF-8 without a zero byte) and returns 1; 0, the caller takes
 * back what was appended, where it is not certain to be the value that the server would read: every
 * spelling but that in which the server prints the type may be left to it.  Raises on no text. */
typedef int fpg_pack_fn(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out);

struct fpg_type {
  uint32_t oid; /* 0: no row knows it */
  uint16_t kind, traits;
  const char *name;
  fpg_decode_fn *decode_binary; /* NULL: the type has no binary form here, results come as text */
  fpg_decode_fn *decode_text;
  fpg_encode_fn *encode;      /* as a parameter: returns FPG_TEXT or FPG_BINARY */
  fpg_encode_fn *encode_text; /* inside an array or another container: always text, unquoted */
  fpg_pack_fn *pack;          /* NULL: strings go as they are, for the server to parse */
  const fpg_type *elem;       /* of an array; the subtype of a range, the range of a multirange */
  const fpg_type *const *fields; /* of a composite type, */
  int nfields;                   /* and how many there are */
};

/* What a type has beyond this is a Lua table of its own, kept in the registry under its address:
 * the row metatable of a composite type, the functions of a codec set by the user. */
static inline void fpg_type_push_data(lua_State *L, const fpg_type *type) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, type);
}

/* ---- questions about a type ----------------------------------------------------------------- */

/* What the text of a value depends on, FPG_NEEDS_* added up: for an array, what its elements say. */
int fpg_type_text_needs(const fpg_type *type);

/* Whether values of the type come in binary: for an array, what its elements say.  Ranges over some
 * types come as text, because only the server knows how it prints their bounds. */
int fpg_type_has_binary(const fpg_type *type);

/* Whether the binary form can be read where there is no choice: in an anonymous record. */
int fpg_type_reads_binary(const fpg_type *type);

/* Whether a Lua table, whether a list can be one value of the type: in an array it is an element then. */
int fpg_type_takes_tables(const fpg_type *type);
int fpg_type_takes_lists(const fpg_type *type);

/* What printing a value of the type has to know: "json", "array", "composite", "hstore", "bytea",
 * "float4", "float8", "integer", "user" (the user's functions made the value), or "other". */
const char *fpg_type_kind(const fpg_type *type);

/* Of which values fpg_encode_binary is certain: "any", "values" (all but strings), "numbers" (Lua's
 * own), "none" (it depends on each), or NULL: the type is never written in binary. */
const char *fpg_type_binary_values(const fpg_type *type);

/* ---- writing a value ------------------------------------------------------------------------- */

/* Writes the value at idx as a parameter of this type.  nil and fastpg.null are the caller's.
 * A string goes through unchanged where the server parses it: then *direct points at it. */
int fpg_encode_param(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                     const char **direct, size_t *direct_len);

/* Writes the value at idx as text, by the same rules as a parameter: inside of others, and for COPY. */
void fpg_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out);

/* Writes it in the type's binary form, as COPY needs it, where no field may choose.  False when this
 * value has none here: nothing of use was appended then. */
int fpg_encode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out);

/* Whether the value at idx is a string that is the value's text: not for json, where it is a JSON string, for
 * bytea, and where the user's functions say what it is. */
int fpg_is_plain_text(lua_State *L, const fpg_type *type, int idx);

/* Appends the string at idx, which the server will read.  Raises unless it is UTF-8 without a zero byte. */
void fpg_put_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out);

/* The same without raising anything: 0 where the value at idx is no string. */
int fpg_put_string(lua_State *L, int idx, fpg_buf *out);

/* Raises unless the bytes are text as the server takes it: UTF-8 without a zero byte. */
void fpg_check_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *s, size_t len);

/* ---- errors --------------------------------------------------------------------------------- */

/* Raises "int4: expected 4 bytes, got 3". */
int fpg_bad_length(lua_State *L, const fpg_type *type, const char *expected, size_t got);

/* The same where the length must be that one. */
int fpg_wrong_length(lua_State *L, const fpg_type *type, size_t want, size_t got);
static inline void fpg_need_length(lua_State *L, const fpg_type *type, size_t want, size_t got) {
  if (want != got) fpg_wrong_length(L, type, want, got);
}

/* Raises "inet: malformed binary value" where the length is right. */
int fpg_bad_binary(lua_State *L, const fpg_type *type);

/* Raises "date: invalid text" for text of a server that cannot be read; never shows the text. */
int fpg_bad_text(lua_State *L, const fpg_type *type);

/* Raises the message behind "$2: ", or "$2[3]: " where an element of an array is the culprit. */
int fpg_refuse(lua_State *L, const fpg_ctx *cx, const char *message);

/* Raises "$2: integer expected, got number 1.5" (without the "$2: " outside a parameter). */
int fpg_bad_value(lua_State *L, const fpg_ctx *cx, int idx, const char *expected);

/* The same where the value is a number, but not one of those that the type has. */
int fpg_out_of_range(lua_State *L, const fpg_ctx *cx, int idx, const fpg_type *type);

/* A list of arguments holds, under the address of this, the list of the columns they are for: what builds
 * statements (csrc/table/sql_builder.c) puts it there, and only an error looks at it. */
extern const char fpg_columns_key;

#endif
