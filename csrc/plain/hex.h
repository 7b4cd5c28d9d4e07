/* SPDX-License-Identifier: MIT
 *
 * hex.h: hexadecimal digits.
 */
#ifndef FASTPG_HEX_H
#define FASTPG_HEX_H

/* The value of a digit 0-9 a-f A-F, else -1. */
static inline int fpg_hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that two digits are, else -1. */
static inline int fpg_hex_byte(const char *p) {
  int hi = fpg_hex_digit(p[0]), lo = hi < 0 ? -1 : fpg_hex_digit(p[1]);
  return lo < 0 ? -1 : hi << 4 | lo;
}

#endif
