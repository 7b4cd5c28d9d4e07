/* SPDX-License-Identifier: MIT
 *
 * codec_net.c: network addresses, as the server prints them.
 *
 * Binary (inet_send, cidr_send): a byte each of family (2: IPv4, 3: IPv6), bits of the mask,
 * whether it is a cidr, bytes of the address (4, 16), then these.  A cidr is printed with its mask always,
 * an inet only with one that is not whole.  macaddr, macaddr8: the 6 or 8 bytes.
 */
#include "codec_net.h"

#include <stdio.h>

#include "be.h"

enum { IPV4 = 2, IPV6 = 3 };
enum { WORDS = 8 }; /* of an IPv6 address */

static char *put_ipv4(char *t, const unsigned char *b) {
  return t + sprintf(t, "%d.%d.%d.%d", b[0], b[1], b[2], b[3]);
}

/* The first longest run of zero words, which `::` stands for; its length is 0 when none has two. */
static int zero_run(const uint16_t *words, int *length) {
  int best = 0, start = 0;
  *length = 1;
  for (int i = 0; i < WORDS; i++) {
    if (words[i]) start = i + 1;
    else if (i + 1 - start > *length) *length = i + 1 - (best = start);
  }
  if (*length < 2) *length = 0;
  return best;
}

/* ::a.b.c.d and ::ffff:a.b.c.d, but ::1 */
static int holds_ipv4(const uint16_t *words, int run, int length) {
  return length && run == 0 &&
         (length == 6 || (length == 7 && words[7] != 1) || (length == 5 && words[5] == 0xffff));
}

static char *put_ipv6(char *t, const unsigned char *b) {
  uint16_t words[WORDS];
  for (int i = 0; i < WORDS; i++) words[i] = be_u16(b + 2 * i);
  int length, run = zero_run(words, &length), ipv4 = holds_ipv4(words, run, length);
  for (int i = 0; i < WORDS; i++) {
    if (i >= run && i < run + length) {
      if (i == run) *t++ = ':';
      continue;
    }
    if (i) *t++ = ':';
    if (i == 6 && ipv4) return put_ipv4(t, b + 12);
    t += sprintf(t, "%x", words[i]);
  }
  if (length && run + length == WORDS) *t++ = ':';
  *t = 0;
  return t;
}

void fpg_inet_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                            size_t len) {
  const unsigned char *b = (const unsigned char *)p;
  char text[64], *t;
  (void)cx;
  if (len != 8 && len != 20) fpg_bad_length(L, type, "8 or 20", len);
  int v6 = len == 20, whole = v6 ? 128 : 32;
  if (b[0] != (v6 ? IPV6 : IPV4) || b[1] > whole || b[3] != len - 4) fpg_bad_binary(L, type);
  t = v6 ? put_ipv6(text, b + 4) : put_ipv4(text, b + 4);
  if (b[2] || b[1] != whole) t += sprintf(t, "/%d", b[1]);
  lua_pushlstring(L, text, (size_t)(t - text));
}

/* macaddr and macaddr8 */
void fpg_macaddr_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type,
                               const char *p, size_t len) {
  char text[24], *t = text;
  (void)cx;
  size_t want = type->name[sizeof "macaddr" - 1] ? 8 : 6;
  if (len != want) fpg_bad_length(L, type, want == 8 ? "8" : "6", len);
  for (size_t i = 0; i < len; i++) t += sprintf(t, i ? ":%02x" : "%02x", (unsigned char)p[i]);
  lua_pushlstring(L, text, (size_t)(t - text));
}
