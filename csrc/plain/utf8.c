/* SPDX-License-Identifier: MIT
 *
 * utf8.c: see utf8.h.
 */
#include "utf8.h"

#include <stdint.h>
#include <string.h>

/* Whether eight bytes are ASCII without a zero byte. */
static int is_ascii8(const unsigned char *s) {
  uint64_t w;
  memcpy(&w, s, sizeof w);
  return !(((w - UINT64_C(0x0101010101010101)) | w) & UINT64_C(0x8080808080808080));
}

int fpg_valid_utf8(const char *str, size_t len) {
  const unsigned char *s = (const unsigned char *)str, *end = s + len;
  while (s < end) {
    if (end - s >= 8 && is_ascii8(s)) {
      s += 8;
      continue;
    }
    unsigned char c = *s++;
    if (c == 0) return 0;
    if (c < 0x80) continue;
    int more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
    if (c < 0xC2 || c > 0xF4 || end - s < more) return 0;
    if ((c == 0xE0 && s[0] < 0xA0) || (c == 0xED && s[0] > 0x9F) || (c == 0xF0 && s[0] < 0x90) ||
        (c == 0xF4 && s[0] > 0x8F))
      return 0;
    for (; more; more--)
      if ((*s++ & 0xC0) != 0x80) return 0;
  }
  return 1;
}
