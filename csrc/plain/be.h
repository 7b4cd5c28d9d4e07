/* SPDX-License-Identifier: MIT
 *
 * be.h: big-endian integers and floats of the PostgreSQL wire format, for bytes whose length the
 * caller has checked already.
 */
#ifndef FASTPG_BE_H
#define FASTPG_BE_H

#include <stdint.h>
#include <string.h>

static inline uint16_t be_u16(const void *p) {
  const unsigned char *b = p;
  return (uint16_t)(b[0] << 8 | b[1]);
}
static inline uint32_t be_u32(const void *p) {
  const unsigned char *b = p;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
}
static inline uint64_t be_u64(const void *p) {
  return (uint64_t)be_u32(p) << 32 | be_u32((const char *)p + 4);
}
static inline int16_t be_i16(const void *p) { return (int16_t)be_u16(p); }
static inline int32_t be_i32(const void *p) { return (int32_t)be_u32(p); }
static inline int64_t be_i64(const void *p) { return (int64_t)be_u64(p); }
static inline double be_f64(const void *p) {
  uint64_t u = be_u64(p);
  double d;
  memcpy(&d, &u, sizeof d);
  return d;
}
static inline float be_f32(const void *p) {
  uint32_t u = be_u32(p);
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static inline void be_put16(void *p, uint16_t v) {
  unsigned char *b = p;
  b[0] = (unsigned char)(v >> 8);
  b[1] = (unsigned char)v;
}
static inline void be_put32(void *p, uint32_t v) {
  be_put16(p, (uint16_t)(v >> 16));
  be_put16((char *)p + 2, (uint16_t)v);
}
static inline void be_put64(void *p, uint64_t v) {
  be_put32(p, (uint32_t)(v >> 32));
  be_put32((char *)p + 4, (uint32_t)v);
}
static inline void be_putf64(void *p, double d) {
  uint64_t u;
  memcpy(&u, &d, sizeof u);
  be_put64(p, u);
}
static inline void be_putf32(void *p, float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  be_put32(p, u);
}

#endif
