/* SPDX-License-Identifier: MIT
 *
 * types.h: finding the row of a type, and the codecs that are not in a file of their own.
 */
#ifndef FASTPG_TYPES_H
#define FASTPG_TYPES_H

#include "codec.h"

/* The built-in type (or array type) with this oid, or NULL. */
const fpg_type *fpg_type_find(uint32_t oid);

/* What the text of a value depends on, added up: DateStyle, TimeZone, extra_float_digits, IntervalStyle (of
 * which it tells itself what it is). */
enum { FPG_NEEDS_DATE_STYLE = 1, FPG_NEEDS_ZONE = 2, FPG_NEEDS_DIGITS = 4, FPG_NEEDS_INTERVAL_STYLE = 8 };
int fpg_type_text_needs(const fpg_type *type);

/* Whether values of the type come in binary: for an array, what its elements say.  Ranges over some
 * types come as text, because only the server knows how it prints their bounds. */
int fpg_type_has_binary(const fpg_type *type);

/* Whether the binary form can be read where there is no choice: in an anonymous record. */
int fpg_type_reads_binary(const fpg_type *type);

/* The same for a table that is a list: in an array it is one more dimension only where that was said. */
int fpg_type_takes_lists(const fpg_type *type);

/* What printing a value of the type has to know: "json", "array", "composite", "hstore", "bytea",
 * "float4", "float8", "integer", "user" (the user's functions made the value), or "other". */
const char *fpg_type_kind(const fpg_type *type);

/* For types the server alone understands: text both ways. */
fpg_decode_fn fpg_bytes_decode;
fpg_encode_fn fpg_any_encode;

/* Whether a Lua table can be one value of the type: in an array it is an element then. */
int fpg_type_takes_tables(const fpg_type *type);

/* What an oid that no row knows is read and written as: the server's text. */
extern const fpg_type fpg_type_other;

/* Arrays, in codec_array.c: nested lists, fastpg.null for NULL. */
fpg_decode_fn fpg_array_decode_binary, fpg_array_decode_text;
fpg_encode_fn fpg_array_encode, fpg_array_encode_text;
char fpg_array_delimiter(const fpg_type *type);

/* Raises unless the bytes are text as the server takes it: UTF-8 without a zero byte. */
void fpg_check_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *s,
                    size_t len);

/* Writes the value at idx as a parameter of this type.  nil and fastpg.null are the caller's.
 * A string goes through unchanged where the server parses it: then *direct points at it. */
int fpg_encode_param(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out,
                     const char **direct, size_t *direct_len);

/* Whether a string at idx is the value's text: not for json, where it is a JSON string, for bytea, and
 * where the user's functions say what it is. */
int fpg_is_plain_text(lua_State *L, const fpg_type *type, int idx);

/* Writes the value at idx as text, by the same rules as a parameter: inside of others, and for COPY. */
void fpg_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out);

/* Writes it in the type's binary form, as COPY needs it, where no field may choose.  False when this
 * value has none here: nothing of use was appended then. */
int fpg_encode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out);

/* Of which values fpg_encode_binary is certain: "any", "values" (all but strings), "numbers" (Lua's
 * own), "none" (it depends on each), or NULL: the type is never written in binary. */
const char *fpg_type_binary_values(const fpg_type *type);

/* A list of arguments holds, under the address of this, the list of the columns they are for: the builders
 * of statements (sql_builder.c) put it there, and only an error looks at it. */
extern const char fpg_columns_key;

#endif
