/* SPDX-License-Identifier: MIT
 *
 * codec_search.c: the text of tsvector and tsquery, as the server prints it.
 *
 * tsvector (tsvectorsend): int32 lexemes; each the lexeme and a zero byte, uint16 positions, uint16
 * each: two bits of weight (3 is A, 0 is D) and fourteen of position.
 *
 *   'cat':3 'fat':2A,4
 *
 * tsquery (tsquerysend): int32 items, the operator before its operands and the right operand before
 * the left; a byte of kind.  A lexeme: a byte of weights (bit 3 is A), a byte whether it is a
 * prefix, the lexeme and a zero byte.  An operator: a byte which; a phrase's uint16 distance.
 *
 *   'fat':AB & !( 'cat' | 'rat':* )
 *
 * A query may be as deep as it is long: no recursion, the work to do is a stack in a buffer.
 */
#include "be.h"
#include "buffer.h"
#include "escape.h"
#include "codec_search.h"

#include <stdio.h>

static void push_text(lua_State *L, const fpg_buf *text) {
  lua_pushlstring(L, text->data ? text->data : "", text->len);
}

static const fpg_escapes doubled = {"'\\", 0};

/* The lexeme at p in quotes.  It ends with a zero byte before `end`; returns what is behind it. */
static const char *put_lexeme(lua_State *L, const fpg_type *type, fpg_buf *out, const char *p,
                              const char *end) {
  const char *zero = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
  if (!zero) fpg_bad_binary(L, type);
  fpg_put_quoted(L, out, '\'', p, (size_t)(zero - p), &doubled);
  return zero + 1;
}

/* ---- tsvector ----------------------------------------------------------------------------- */

static const char *put_positions(lua_State *L, const fpg_type *type, fpg_buf *out, const char *p,
                                 const char *end) {
  static const char weights[] = "DCBA";
  int n = end - p < 2 ? -1 : be_u16(p);
  p += 2;
  if (n < 0 || (end - p) / 2 < n) fpg_bad_binary(L, type);
  for (int i = 0; i < n; i++, p += 2) {
    uint16_t v = be_u16(p);
    fpg_buf_putc(L, out, i ? ',' : ':');
    fpg_buf_putint(L, out, v & 0x3fff);
    if (v >> 14) fpg_buf_putc(L, out, weights[v >> 14]);
  }
  return p;
}

void fpg_tsvector_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                                const char *p, size_t len) {
  const char *end = p + len;
  (void)cx;
  if (len < 4) fpg_bad_length(L, type, "at least 4", len);
  int n = be_i32(p);
  p += 4;
  if (n < 0 || (size_t)n > (len - 4) / 3) fpg_bad_length(L, type, "more", len);
  luaL_checkstack(L, 6, "tsvector");
  fpg_buf *out = fpg_buf_new(L);
  for (int i = 0; i < n; i++) {
    if (i) fpg_buf_putc(L, out, ' ');
    p = put_lexeme(L, type, out, p, end);
    p = put_positions(L, type, out, p, end);
  }
  if (p != end) fpg_bad_length(L, type, "fewer", len);
  push_text(L, out);
  fpg_buf_free(L, out);
  lua_remove(L, -2);
}

/* ---- tsquery ------------------------------------------------------------------------------ */

enum { LEXEME = 1, OPERATOR = 2 };
enum { NOT = 1, AND, OR, PHRASE };

static const int priorities[] = {[NOT] = 4, [AND] = 2, [OR] = 1, [PHRASE] = 3};

/* An item: where it is in the bytes, and how many items it is with its operands. */
typedef struct {
  uint32_t at, size;
} item;

/* What to print next: an item, as an operand of an operator with that priority; or a text. */
typedef struct {
  enum { ITEM, INFIX, CLOSE } what;
  uint32_t item;
  int priority, right_of_phrase;
} task;

/* The item at p: returns the byte behind it. */
static const char *skip_item(lua_State *L, const fpg_type *type, const char *p, const char *end) {
  size_t left = (size_t)(end - p);
  if (left >= 4 && *p == LEXEME) {
    const char *zero = memchr(p + 3, 0, left - 3);
    if (zero) return zero + 1;
  } else if (left >= 2 && *p == OPERATOR && p[1] >= NOT && p[1] <= PHRASE) {
    size_t size = p[1] == PHRASE ? 4 : 2;
    if (left >= size) return p + size;
  }
  fpg_bad_binary(L, type);
  return NULL;
}

/* The sizes of all items, from the last to the first: operands come behind their operator. */
static void measure(lua_State *L, const fpg_type *type, const char *bytes, item *items,
                    uint32_t n) {
  for (uint32_t i = n; i-- > 0;) {
    const char *p = bytes + items[i].at;
    uint32_t size = 1;
    for (int operands = *p == LEXEME ? 0 : p[1] == NOT ? 1 : 2; operands > 0; operands--) {
      if (i + size >= n) fpg_bad_binary(L, type);
      size += items[i + size].size;
    }
    items[i].size = size;
  }
  if (items[0].size != n) fpg_bad_binary(L, type);
}

static void put_query_lexeme(lua_State *L, const fpg_type *type, fpg_buf *out, const char *p,
                             const char *end) {
  put_lexeme(L, type, out, p + 3, end);
  if (!p[1] && !p[2]) return;
  fpg_buf_putc(L, out, ':');
  if (p[2]) fpg_buf_putc(L, out, '*');
  for (int bit = 3; bit >= 0; bit--)
    if (p[1] & 1 << bit) fpg_buf_putc(L, out, "DCBA"[bit]);
}

static void put_infix(lua_State *L, fpg_buf *out, const char *p) {
  char text[24];
  int distance = p[1] == PHRASE ? (int16_t)be_u16(p + 2) : 0;
  if (distance == 1) fpg_buf_puts(L, out, " <-> ");
  else if (p[1] == PHRASE) {
    sprintf(text, " <%d> ", distance);
    fpg_buf_puts(L, out, text);
  } else fpg_buf_puts(L, out, p[1] == AND ? " & " : " | ");
}

static void push_task(lua_State *L, fpg_buf *tasks, int what, uint32_t i, int priority,
                      int right_of_phrase) {
  task t = {what, i, priority, right_of_phrase};
  fpg_buf_put(L, tasks, &t, sizeof t);
}

/* An operator: what comes first is done at once, what follows is put on the stack. */
static void put_operator(lua_State *L, fpg_buf *out, fpg_buf *tasks, const item *items,
                         const char *p, const task *t) {
  int op = p[1], priority = priorities[op];
  uint32_t right = t->item + 1;
  if (priority < t->priority || (op == PHRASE && t->right_of_phrase)) {
    fpg_buf_puts(L, out, "( ");
    push_task(L, tasks, CLOSE, 0, 0, 0);
  }
  if (op == NOT) {
    fpg_buf_putc(L, out, '!');
    push_task(L, tasks, ITEM, right, priority, 0);
    return;
  }
  push_task(L, tasks, ITEM, right, priority, op == PHRASE);
  push_task(L, tasks, INFIX, t->item, 0, 0);
  push_task(L, tasks, ITEM, right + items[right].size, priority, 0);
}

static void put_query(lua_State *L, const fpg_type *type, fpg_buf *out, fpg_buf *tasks,
                      const item *items, const char *bytes, const char *end) {
  push_task(L, tasks, ITEM, 0, -1, 0);
  while (tasks->len) {
    task t;
    tasks->len -= sizeof t;
    memcpy(&t, tasks->data + tasks->len, sizeof t);
    const char *p = bytes + items[t.item].at;
    if (t.what == CLOSE) fpg_buf_puts(L, out, " )");
    else if (t.what == INFIX) put_infix(L, out, p);
    else if (*p == LEXEME) put_query_lexeme(L, type, out, p, end);
    else put_operator(L, out, tasks, items, p, &t);
  }
}

void fpg_tsquery_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  const char *bytes = p, *end = p + len;
  (void)cx;
  if (len < 4 || len > INT32_MAX) fpg_bad_length(L, type, "at least 4", len);
  int n = be_i32(p);
  p += 4;
  if (n < 0 || (size_t)n > (len - 4) / 2) fpg_bad_length(L, type, "more", len);
  luaL_checkstack(L, 6, "tsquery");
  int base = lua_gettop(L);
  fpg_buf *out = fpg_buf_new(L), *list = fpg_buf_new(L), *tasks = fpg_buf_new(L);
  fpg_buf_grow(L, list, (size_t)n * sizeof(item));
  item *items = (item *)(void *)list->data;
  for (int i = 0; i < n; i++) {
    items[i].at = (uint32_t)(p - bytes);
    p = skip_item(L, type, p, end);
  }
  if (p != end) fpg_bad_length(L, type, "fewer", len);
  if (n) {
    measure(L, type, bytes, items, (uint32_t)n);
    put_query(L, type, out, tasks, items, bytes, end);
  }
  push_text(L, out);
  fpg_buf_free(L, out);
  fpg_buf_free(L, list);
  fpg_buf_free(L, tasks);
  lua_replace(L, base + 1);
  lua_settop(L, base + 1);
}
