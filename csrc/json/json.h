/* SPDX-License-Identifier: MIT
 *
 * json.h: JSON to Lua values and back.
 *
 * null is fastpg.null inside a document and fastpg.json_null as a whole document; an array carries
 * the array metatable; a number that no Lua number holds is a fastpg.numeric.
 *
 * Reading loses nothing and takes every document of the server's: \u0000 is a zero byte, half a
 * surrogate pair the three bytes that UTF-8 would have for it, and both are written back as they came;
 * a number beyond numeric's range, and what is nested deeper than FPG_JSON_DEPTH, is a
 * fastpg.json_text of itself.
 */
#ifndef FASTPG_JSON_H
#define FASTPG_JSON_H

#include "buffer.h"

/* Pushes the value of the document s; `what` begins the message of an error ("json").  `blame`: the
 * error names the line of the Lua code that called the running C function. */
void fpg_json_read(lua_State *L, const char *what, int blame, const char *s, size_t len);

/* Appends the value at idx as JSON.  Errors begin with "$2: " when param is 2, with nothing when it
 * is 0, and are blamed as above when it is negative.  strict: strings must be text to the server. */
void fpg_json_write(lua_State *L, int idx, int param, int strict, fpg_buf *out);

/* ---- between the json files -------------------------------------------------------------- */

#define FPG_JSON_TEXT_MT "fastpg.json_text"

typedef struct fpg_json_raw { /* fastpg.json_text */
  size_t len;
  char text[1];
} fpg_json_raw;

/* Pushes a fastpg.json_text of what is known to be JSON. */
void fpg_json_push_raw(lua_State *L, const char *s, size_t len);

/* Raises the message, which may be on the stack. */
int fpg_json_raise(lua_State *L, const char *name, int blame, const char *message);

void fpg_push_array_mt(lua_State *L);
void fpg_push_json_null(lua_State *L);

/* True for the metatable at idx when it marks arrays: ours, the one in use, or one that says
 * __jsontype = "array". */
int fpg_is_array_mt(lua_State *L, int idx);

/* Room for n bytes that are not counted yet. */
static inline char *fpg_json_reserve(lua_State *L, fpg_buf *b, size_t n) {
  if (n > b->cap - b->len) {
    fpg_buf_grow(L, b, n);
    b->len -= n;
  }
  return b->data + b->len;
}

/* "s" in quotes; false, with nothing to rely on in b, when s is not text: strict, when the server has no
 * text for it, else when it is none of what the reader makes of a string. */
int fpg_json_put_string(lua_State *L, fpg_buf *b, const char *s, size_t len, int strict);
void fpg_json_put_integer(lua_State *L, fpg_buf *b, int64_t v);
/* False when v is NaN or infinite. */
int fpg_json_put_float(lua_State *L, fpg_buf *b, double v);

/* One step of a path such as $.a[3]["b c"]. */
void fpg_json_path_key(lua_State *L, fpg_buf *b, const char *s, size_t len);
void fpg_json_path_index(lua_State *L, fpg_buf *b, size_t i);
/* Of a path of n steps, whether step i is shown; puts "..." where steps are left out. */
int fpg_json_path_shows(lua_State *L, fpg_buf *b, int i, int n);

#endif
