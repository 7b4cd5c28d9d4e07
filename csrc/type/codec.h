/* SPDX-License-Identifier: MIT
 *
 * codec.h: what a type is to the rest of the core.
 *
 * A type is one row of codecs.def.  It has up to five functions: read its binary form, read its
 * text form, write its binary form, write its text form, turn its text into its binary form.  A
 * decoder gets exactly the bytes of one value, pushes exactly one Lua value and never reads past
 * p + len.  An encoder appends the value at the absolute index idx to `out`, leaves the stack as it
 * found it and says which form it wrote.
 */
#ifndef FASTPG_CODEC_H
#define FASTPG_CODEC_H

#include "buffer.h"

typedef struct fpg_type fpg_type;
typedef struct fpg_typemap fpg_typemap;

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
} fpg_ctx;

enum { FPG_TEXT = 0, FPG_BINARY = 1 };

typedef void fpg_decode_fn(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                           size_t len);
typedef int fpg_encode_fn(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                          fpg_buf *out);

/* Appends the binary form of a text (UTF-8 without a zero byte) and returns 1; 0, the caller takes
 * back what was appended, where it is not certain to be the value that the server would read: every
 * spelling but that in which the server prints the type may be left to it.  Raises on no text. */
typedef int fpg_pack_fn(lua_State *L, const char *s, size_t len, fpg_buf *out);

struct fpg_type {
  uint32_t oid;
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

/* Raises "int4: expected 4 bytes, got 3". */
int fpg_bad_length(lua_State *L, const fpg_type *type, const char *expected, size_t got);

/* Raises the message behind "$2: ", or "$2[3]: " where an element of an array is the culprit. */
int fpg_refuse(lua_State *L, const fpg_ctx *cx, const char *message);

/* Raises "$2: integer expected, got number 1.5" (without the "$2: " outside a parameter). */
int fpg_bad_value(lua_State *L, const fpg_ctx *cx, int idx, const char *expected);

/* Raises "inet: malformed binary value" where the length is right. */
int fpg_bad_binary(lua_State *L, const fpg_type *type);

/* Raises "date: invalid text" for text of a server that cannot be read; never shows the text. */
int fpg_bad_text(lua_State *L, const fpg_type *type);

#endif
