/* SPDX-License-Identifier: MIT
 *
 * codec_array.h: arrays, as nested lists; fastpg.null is NULL in them.
 */
#ifndef FASTPG_CODEC_ARRAY_H
#define FASTPG_CODEC_ARRAY_H

#include "codec.h"

fpg_decode_fn fpg_array_decode_binary, fpg_array_decode_text;
fpg_encode_fn fpg_array_encode, fpg_array_encode_text;

/* Reading the binary form in slices, as fpg_json_begin and fpg_json_more (json_read.h). */
void fpg_array_begin(lua_State *L, const fpg_type *type, const char *p, size_t len);
int fpg_array_more(lua_State *L, const fpg_ctx *cx, int idx, double ends);

/* What is between the elements in the text of an array of that type. */
char fpg_array_delimiter(const fpg_type *type);

#endif
