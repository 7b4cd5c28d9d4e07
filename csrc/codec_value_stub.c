/* STUB */
#include "codec_value.h"
#define STUB(x) void fpg_##x##_decode_binary(lua_State *L, const fpg_ctx *c, const fpg_type *t, const char *p, size_t n){(void)c;(void)t;lua_pushlstring(L,p,n);} \
void fpg_##x##_decode_text(lua_State *L, const fpg_ctx *c, const fpg_type *t, const char *p, size_t n){(void)c;(void)t;lua_pushlstring(L,p,n);} \
int fpg_##x##_encode(lua_State *L, const fpg_ctx *c, const fpg_type *t, int i, fpg_buf *o){(void)t;(void)o;return fpg_bad_value(L,c,i,"x");} \
int fpg_##x##_encode_text(lua_State *L, const fpg_ctx *c, const fpg_type *t, int i, fpg_buf *o){(void)t;(void)o;return fpg_bad_value(L,c,i,"x");}
STUB(numeric) STUB(date) STUB(time) STUB(timetz) STUB(timestamp) STUB(timestamptz) STUB(interval)
