/* SPDX-License-Identifier: MIT
 *
 * codec_net.c: network addresses, as the server prints them.
 *
 * Binary (inet_send, cidr_send): a byte each of family (2: IPv4, 3: IPv6), bits of the mask,
 * whether it is a cidr, bytes of the address (4, 16), then these.  A cidr is printed with its mask always,
 * an inet only with one that is not whole.  macaddr, macaddr8: the 6 or 8 bytes.
 */
#include "codec_net.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "be.h"
#include "buffer.h"
#include "hex.h"

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

/* Puts the text of a binary form whose bytes are consistent; returns its length. */
static size_t put_address(char *text, const unsigned char *b) {
  int v6 = b[0] == IPV6;
  char *t = v6 ? put_ipv6(text, b + 4) : put_ipv4(text, b + 4);
  if (b[2] || b[1] != (v6 ? 128 : 32)) t += sprintf(t, "/%d", b[1]);
  return (size_t)(t - text);
}

void fpg_inet_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p,
                            size_t len) {
  const unsigned char *b = (const unsigned char *)p;
  char text[64];
  (void)cx;
  if (len != 8 && len != 20) fpg_bad_length(L, type, "8 or 20", len);
  int v6 = len == 20;
  if (b[0] != (v6 ? IPV6 : IPV4) || b[1] > (v6 ? 128 : 32) || b[3] != len - 4)
    fpg_bad_binary(L, type);
  lua_pushlstring(L, text, put_address(text, b));
}

/* A cidr has no bits behind its mask. */
static int is_network(const unsigned char *address, int size, int bits) {
  for (int i = bits; i < 8 * size; i++)
    if (address[i / 8] & 128 >> i % 8) return 0;
  return 1;
}

/* The bits behind the slash, which is cut off; `whole` without one; -1: no number. */
static int cut_mask(char *text, int whole) {
  char *slash = strchr(text, '/'), *end;
  if (!slash) return whole;
  *slash = 0;
  long bits = strtol(slash + 1, &end, 10);
  return *end || bits < 0 || bits > whole ? -1 : (int)bits;
}

/* What is not spelled as the reader above spells it is left to the server: it has its own ideas of
 * 10.1 and of leading zeros. */
int fpg_inet_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  int cidr = type->kind == FPG_KIND_CIDR;
  unsigned char b[20] = {0};
  char text[64];
  if (len >= sizeof text) return 0;
  memcpy(text, s, len);
  text[len] = 0;
  int v6 = memchr(s, ':', len) != NULL, size = v6 ? 16 : 4, bits = cut_mask(text, 8 * size);
  if (bits < 0 || inet_pton(v6 ? AF_INET6 : AF_INET, text, b + 4) != 1) return 0;
  b[0] = v6 ? IPV6 : IPV4;
  b[1] = (unsigned char)bits;
  b[2] = (unsigned char)cidr;
  b[3] = (unsigned char)size;
  if (put_address(text, b) != len || memcmp(text, s, len) != 0) return 0;
  if (cidr && !is_network(b + 4, size, bits)) return 0;
  fpg_buf_put(L, out, b, 4 + (size_t)size);
  return 1;
}

/* ---- macaddr, macaddr8 -------------------------------------------------------------------- */

static size_t bytes_of(const fpg_type *type) { return type->kind == FPG_KIND_MACADDR8 ? 8 : 6; }

void fpg_macaddr_decode_binary(lua_State *L, const fpg_ctx *cx, const fpg_type *type, const char *p, size_t len) {
  char text[24], *t = text;
  (void)cx;
  fpg_need_length(L, type, bytes_of(type), len);
  for (size_t i = 0; i < len; i++) t += sprintf(t, i ? ":%02x" : "%02x", (unsigned char)p[i]);
  lua_pushlstring(L, text, (size_t)(t - text));
}

int fpg_macaddr_pack(lua_State *L, const fpg_type *type, const char *s, size_t len, fpg_buf *out) {
  size_t size = bytes_of(type);
  if (len != 3 * size - 1) return 0;
  for (size_t i = 0; i < size; i++, s += 3) {
    int byte = fpg_hex_byte(s);
    if (byte < 0 || (i + 1 < size && s[2] != ':')) return 0;
    fpg_buf_putc(L, out, (char)byte);
  }
  return 1;
}
