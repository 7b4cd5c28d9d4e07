/* SPDX-License-Identifier: MIT
 *
 * codec_geo.h: codecs of the geometric types.
 */
#ifndef FASTPG_CODEC_GEO_H
#define FASTPG_CODEC_GEO_H

#include "types.h"

fpg_decode_fn fpg_point_decode_binary, fpg_point_decode_text;
fpg_decode_fn fpg_line_decode_binary, fpg_line_decode_text;
fpg_decode_fn fpg_lseg_decode_binary, fpg_lseg_decode_text;
fpg_decode_fn fpg_box_decode_binary, fpg_box_decode_text;
fpg_decode_fn fpg_circle_decode_binary, fpg_circle_decode_text;
fpg_decode_fn fpg_path_decode_binary, fpg_path_decode_text;
fpg_decode_fn fpg_polygon_decode_binary, fpg_polygon_decode_text;
fpg_encode_fn fpg_point_encode, fpg_line_encode, fpg_lseg_encode, fpg_box_encode;
fpg_encode_fn fpg_circle_encode, fpg_path_encode, fpg_polygon_encode;
fpg_encode_fn fpg_point_encode_text, fpg_line_encode_text, fpg_lseg_encode_text;
fpg_encode_fn fpg_box_encode_text, fpg_circle_encode_text, fpg_path_encode_text;
fpg_encode_fn fpg_polygon_encode_text;
fpg_pack_fn fpg_point_pack, fpg_line_pack, fpg_lseg_pack, fpg_box_pack;
fpg_pack_fn fpg_circle_pack, fpg_path_pack, fpg_polygon_pack;

int fpg_type_is_geometric(const fpg_type *type);

#endif
