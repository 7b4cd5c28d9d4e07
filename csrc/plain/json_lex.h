/* SPDX-License-Identifier: MIT
 *
 * json_lex.h: what JSON is, byte by byte: strings, numbers, and a check that builds nothing.
 * Pure C: the reader and the writer of Lua values stand on it.
 */
#ifndef FASTPG_JSON_LEX_H
#define FASTPG_JSON_LEX_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FPG_JSON_DEPTH = 1000 }; /* arrays and objects inside one another, in and out */

/* True for a byte that a JSON string can hold as it stands and that needs no second look. */
static inline int fpg_json_is_plain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#define FPG_ONES (~(uint64_t)0 / 255)
#define FPG_ZERO_BYTE(w) (((w) - FPG_ONES) & ~(w))

/* How many of the eight bytes at p are plain before the first that is not. */
static inline int fpg_json_plain8(const char *p) {
  uint64_t w;
  memcpy(&w, p, 8);
  uint64_t bad = w | (w - FPG_ONES * 0x20) | FPG_ZERO_BYTE(w ^ (FPG_ONES * '"')) |
                 FPG_ZERO_BYTE(w ^ (FPG_ONES * '\\'));
  bad &= FPG_ONES * 0x80;
  if (!bad) return 8;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  return __builtin_ctzll(bad) >> 3; /* a borrow reaches only bytes after the first bad one */
#else
  int n = 0;
  while (fpg_json_is_plain((unsigned char)p[n])) n++;
  return n;
#endif
}

/* The first byte from p on that is not plain, or end. */
static inline const char *fpg_json_plain(const char *p, const char *end) {
  while (end - p >= 8) {
    int n = fpg_json_plain8(p);
    p += n;
    if (n < 8) return p;
  }
  while (p < end && fpg_json_is_plain((unsigned char)*p)) p++;
  return p;
}

/* Bytes of the UTF-8 sequence at p, whose first byte is not ASCII; 0 when it is not valid. */
size_t fpg_utf8_long(const char *p, const char *end);

static inline size_t fpg_utf8_seq(const char *p, const char *end) {
  unsigned char c = (unsigned char)p[0];
  if (c >= 0xC2 && c < 0xE0 && end - p >= 2 && ((unsigned char)p[1] & 0xC0) == 0x80) return 2;
  return fpg_utf8_long(p, end);
}

/* Four hex digits at p: the code unit, or -1. */
int fpg_json_hex4(const char *p, const char *end);

/* End of the number at p, NULL when there is none. */
const char *fpg_json_number(const char *p, const char *end);

/* The double whose shortest text has exactly the value of the number s: 1; 0 when there is none, but a
 * numeric has it; -1 when the value is also beyond what PostgreSQL's numeric holds. */
int fpg_json_double(const char *s, size_t len, double *out);

/* The magnitude of the number s, when it is whole and has at most 19 digits. */
int fpg_json_whole(const char *s, size_t len, uint64_t *out);

/* Checks a whole document as the server's json type does (escapes \uXXXX by their form only).
 * NULL when it is well formed, else what is wrong, and *at is the byte it is wrong at. */
const char *fpg_json_check(const char *s, size_t len, size_t *at);

/* The same for one value of any depth at the start of s; *at is its end, when it is well formed.  bits
 * has room for len bits. */
const char *fpg_json_skip(const char *s, size_t len, unsigned char *bits, size_t *at);

/* The surrogate whose three bytes, as UTF-8 would have them if it had surrogates, are at p; or 0. */
static inline unsigned fpg_json_surrogate(const char *str, const char *str_end) {
  const unsigned char *p = (const unsigned char *)str;
  if (str_end - str < 3 || p[0] != 0xED || (p[1] & 0xE0) != 0xA0 || (p[2] & 0xC0) != 0x80) return 0;
  return 0xD000u | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
}

#endif
