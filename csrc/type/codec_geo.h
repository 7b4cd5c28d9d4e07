/* SPDX-License-Identifier: MIT
 *
 * codec_geo.h: the geometric types: which shape it is the type's kind says.
 */
#ifndef FASTPG_CODEC_GEO_H
#define FASTPG_CODEC_GEO_H

#include "codec.h"

fpg_decode_fn fpg_geo_decode_binary, fpg_geo_decode_text;
fpg_encode_fn fpg_geo_encode, fpg_geo_encode_text;
fpg_pack_fn fpg_geo_pack;

#endif
