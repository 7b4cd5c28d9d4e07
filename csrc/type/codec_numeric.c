/* SPDX-License-Identifier: MIT
 *
 * codec_numeric.c: numeric, as fastpg.numeric.
 *
 * Binary (numeric_send): four 16-bit words and base-10000 digits.
 */
#include "codec_numeric.h"

#include "buffer.h"
#include "value.h"
#include "value_numeric.h"

void fpg_numeric_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                               size_t len) {
  (void)cx;
  if (len < 8 || len > 8 + 2 * 65535) fpg_bad_length(L, type, "8 or more", len);
  if (!fpg_num_read(fpg_new_numeric(L, (len - 8) / 2), p, len)) fpg_bad_binary(L, type);
}

void fpg_numeric_decode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  fpg_num_scan scan;
  (void)cx;
  if (fpg_num_parse(p, len, &scan) != FPG_NUM_OK) fpg_bad_text(L, type);
  fpg_num_build(fpg_new_numeric(L, (size_t)scan.ndigits), &scan);
}

int fpg_numeric_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                       fpg_buf *out) {
  (void)type;
  if (fpg_is_numeric(L, idx)) lua_pushvalue(L, idx);
  else if (!fpg_push_numeric_of(L, idx)) return fpg_bad_value(L, cx, idx, "numeric");
  const fpg_num *n = lua_touserdata(L, -1);
  fpg_num_write(n, fpg_buf_grow(L, out, fpg_num_wire_size(n)));
  lua_pop(L, 1);
  return FPG_BINARY;
}

int fpg_numeric_encode_text(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx,
                            fpg_buf *out) {
  (void)type;
  if (fpg_put_string(L, idx, out)) return FPG_TEXT; /* inside an array: the text already */
  if (fpg_is_numeric(L, idx)) lua_pushvalue(L, idx);
  else if (!fpg_push_numeric_of(L, idx)) fpg_bad_value(L, cx, idx, "numeric");
  fpg_value_text(L, -1, out);
  lua_pop(L, 1);
  return FPG_TEXT;
}
