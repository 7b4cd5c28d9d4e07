/* SPDX-License-Identifier: MIT
 *
 * codec_scalar.h: the types that need no object: bool, integers, floats, text, bytea, uuid, "char", name.
 */
#ifndef FASTPG_CODEC_SCALAR_H
#define FASTPG_CODEC_SCALAR_H

#include "codec.h"

fpg_decode_fn fpg_bool_decode_binary, fpg_bool_decode_text;
fpg_encode_fn fpg_bool_encode, fpg_bool_encode_text;

/* int2, int4, int8 and oid: which one it is the type's kind says. */
fpg_decode_fn fpg_int2_decode_binary, fpg_int4_decode_binary, fpg_int8_decode_binary, fpg_oid_decode_binary;
fpg_decode_fn fpg_int_decode_text;
fpg_encode_fn fpg_int_encode, fpg_int_encode_text;

fpg_decode_fn fpg_float4_decode_binary, fpg_float4_decode_text;
fpg_decode_fn fpg_float8_decode_binary, fpg_float8_decode_text;
fpg_encode_fn fpg_float4_encode, fpg_float4_encode_text, fpg_float8_encode, fpg_float_encode_text;

fpg_decode_fn fpg_bytes_decode;  /* a string of the bytes as they came */
fpg_encode_fn fpg_text_encode;   /* a string, a number, a value of fastpg */
fpg_encode_fn fpg_string_encode; /* a string and nothing else */
fpg_pack_fn fpg_name_pack;

fpg_decode_fn fpg_char_decode_binary, fpg_char_decode_text;
fpg_decode_fn fpg_bytea_decode_text;
fpg_encode_fn fpg_bytea_encode, fpg_bytea_encode_text;
fpg_decode_fn fpg_uuid_decode_binary;
fpg_pack_fn fpg_uuid_pack;

/* Appends the text of a string, a number or a value of fastpg; 0 where the value at idx is none of these. */
int fpg_put_scalar(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out);

#endif
