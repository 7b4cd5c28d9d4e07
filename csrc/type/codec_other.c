/* SPDX-License-Identifier: MIT
 *
 * codec_other.c: see codec_other.h.
 */
#include "codec_other.h"

#include "buffer.h"
#include "codec_array.h"
#include "codec_scalar.h"

const fpg_type fpg_type_other = {.name = "a type without a codec",
                                 .decode_text = fpg_bytes_decode,
                                 .encode = fpg_any_encode,
                                 .encode_text = fpg_any_encode};

static const fpg_type list_of_other = {.name = "an array",
                                       .kind = FPG_KIND_ARRAY,
                                       .traits = FPG_TRAITS_ARRAY,
                                       .decode_text = fpg_array_decode_text,
                                       .encode = fpg_array_encode,
                                       .encode_text = fpg_array_encode_text,
                                       .elem = &fpg_type_other};

int fpg_any_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  if (lua_type(L, idx) == LUA_TTABLE) return fpg_array_encode(L, cx, &list_of_other, idx, out);
  if (lua_type(L, idx) == LUA_TBOOLEAN) return fpg_bool_encode_text(L, cx, type, idx, out);
  if (!fpg_put_scalar(L, cx, type, idx, out)) fpg_bad_value(L, cx, idx, "a string, a number, a boolean or a list");
  return FPG_TEXT;
}
