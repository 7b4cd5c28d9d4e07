/* SPDX-License-Identifier: MIT
 *
 * types.c: the table of the built-in types, made of codecs.def.
 */
#include "types.h"

#include "codec_array.h"
#include "codec_composite.h"
#include "codec_geo.h"
#include "codec_json.h"
#include "codec_net.h"
#include "codec_numeric.h"
#include "codec_range.h"
#include "codec_scalar.h"
#include "codec_search.h"
#include "codec_text.h"
#include "codec_time.h"

enum {
#define FPG_TYPE(id, name, oid, array, kind, db, dt, e, et) T_##id,
#include "codecs.def"
#undef FPG_TYPE
  T_COUNT
};

static const fpg_type base_types[T_COUNT];

/* (Parameters of macros can't be named like the members.) */
#define KIND(k) .kind = FPG_KIND_##k, .traits = FPG_TRAITS_##k
#define FUNCTIONS(db, dt, e, et) .decode_binary = db, .decode_text = dt, .encode = e, .encode_text = et

static const fpg_type base_types[T_COUNT] = {
#define FPG_TYPE(id, nm, o, array, k, db, dt, e, et) {.oid = o, .name = nm, KIND(k), FUNCTIONS(db, dt, e, et)},
#define FPG_PACKED(id, nm, o, array, k, db, dt, e, et, pk) \
  {.oid = o, .name = nm, KIND(k), FUNCTIONS(db, dt, e, et), .pack = pk},
#define FPG_RANGE(id, nm, o, array, el) \
  {.oid = o, .name = nm, KIND(RANGE), .elem = &base_types[T_##el], \
   FUNCTIONS(fpg_range_decode_binary, fpg_range_decode_text, fpg_range_encode, fpg_range_encode_text)},
#define FPG_MULTIRANGE(id, nm, o, array, el) \
  {.oid = o, .name = nm, KIND(MULTIRANGE), .elem = &base_types[T_##el], \
   FUNCTIONS(fpg_multirange_decode_binary, fpg_multirange_decode_text, fpg_multirange_encode, fpg_multirange_encode_text)},
#include "codecs.def"
#undef FPG_TYPE
#undef FPG_PACKED
#undef FPG_RANGE
#undef FPG_MULTIRANGE
};

static const fpg_type array_types[T_COUNT] = {
#define FPG_TYPE(id, nm, o, array, k, db, dt, e, et) \
  {.oid = array, .name = nm "[]", KIND(ARRAY), .elem = &base_types[T_##id], \
   FUNCTIONS(fpg_array_decode_binary, fpg_array_decode_text, fpg_array_encode, fpg_array_encode_text)},
#include "codecs.def"
#undef FPG_TYPE
};

/* One byte for each oid below OID_LIMIT says which row: 0 is none, else row + 1, with the high bit
 * for the array type.  The built-in oids of today end at 6157. */
#define OID_LIMIT 6200

_Static_assert(T_COUNT < 127, "a row's number no longer fits into seven bits");

static const unsigned char rows_by_oid[OID_LIMIT] = {
#define FPG_TYPE_ALONE(id, name, oid, kind, db, dt, e, et) [oid] = T_##id + 1,
#define FPG_TYPE(id, name, oid, array, kind, db, dt, e, et) \
  [oid] = T_##id + 1, [array] = 128 | (T_##id + 1),
#include "codecs.def"
#undef FPG_TYPE
#undef FPG_TYPE_ALONE
};

const fpg_type *fpg_type_find(uint32_t oid) {
  if (oid == 0 || oid >= OID_LIMIT || !rows_by_oid[oid]) return NULL;
  int row = (rows_by_oid[oid] & 127) - 1;
  return rows_by_oid[oid] & 128 ? &array_types[row] : &base_types[row];
}
