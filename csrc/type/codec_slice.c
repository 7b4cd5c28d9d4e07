/* SPDX-License-Identifier: MIT
 *
 * codec_slice.c: see codec_slice.h.  JSON and arrays have as many values in them as they like; what else is long is one
 * string.
 */
#include "codec_slice.h"

#include "codec_array.h"
#include "codec_json.h"
#include "json_read.h"

static int is_json(const fpg_type *type) { return type->kind == FPG_KIND_JSON || type->kind == FPG_KIND_JSONB; }

int fpg_is_sliced(const fpg_type *type, int format) {
  if (type->traits & FPG_READ_BY_USER) return 0;
  return is_json(type) || (format == FPG_BINARY && type->decode_binary == fpg_array_decode_binary);
}

void fpg_slice_begin(lua_State *L, const fpg_type *type, int format, const char *p, size_t len) {
  if (!is_json(type)) {
    fpg_array_begin(L, type, p, len);
    return;
  }
  size_t version = format == FPG_BINARY && type->traits & FPG_VERSION_FIRST ? 1 : 0;
  if (version && (len == 0 || p[0] != 1)) fpg_bad_binary(L, type);
  fpg_json_begin(L, type->name, p + version, len - version);
}

int fpg_slice_more(lua_State *L, const fpg_ctx *cx, const fpg_type *type, int idx, double ends) {
  return is_json(type) ? fpg_json_more(L, idx, ends) : fpg_array_more(L, cx, idx, ends);
}
