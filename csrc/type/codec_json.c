/* SPDX-License-Identifier: MIT
 *
 * codec_json.c: json and jsonb; reading and writing themselves are the json room's.
 *
 * Binary (jsonb_send): a version byte, 1, before the text.  json_send is the text.
 */
#include "codec_json.h"

#include "buffer.h"
#include "json_read.h"
#include "json_write.h"
#include "raise.h"

void fpg_json_decode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                     size_t len) {
  if (len >= FPG_LONG_VALUE && fpg_push_ready(L, cx, p)) return;
  fpg_json_read(L, type->name, 0, p, len);
}

void fpg_jsonb_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                             size_t len) {
  if (len >= FPG_LONG_VALUE && fpg_push_ready(L, cx, p)) return;
  if (len == 0 || p[0] != 1)
    fpg_raise(L, "protocol_violation", "%s: unknown version of the binary form",
              type->name);
  fpg_json_read(L, type->name, 0, p + 1, len - 1);
}

int fpg_json_encode(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, fpg_buf *out) {
  int strict = type->kind == FPG_KIND_JSONB; /* json holds any escape */
  fpg_json_write(L, idx, cx->param, strict, out);
  return FPG_TEXT;
}
