/* SPDX-License-Identifier: MIT
 *
 * codec_value.h: numeric, dates, times and intervals on the wire and as text.
 */
#ifndef FASTPG_CODEC_VALUE_H
#define FASTPG_CODEC_VALUE_H

#include "codec.h"

fpg_decode_fn fpg_numeric_decode_binary, fpg_numeric_decode_text;
fpg_decode_fn fpg_date_decode_binary, fpg_date_decode_text;
fpg_decode_fn fpg_time_decode_binary, fpg_time_decode_text;
fpg_decode_fn fpg_timetz_decode_binary, fpg_timetz_decode_text;
fpg_decode_fn fpg_timestamp_decode_binary, fpg_timestamp_decode_text;
fpg_decode_fn fpg_timestamptz_decode_binary, fpg_timestamptz_decode_text;
fpg_decode_fn fpg_interval_decode_binary, fpg_interval_decode_text;

fpg_encode_fn fpg_numeric_encode, fpg_numeric_encode_text;
fpg_encode_fn fpg_date_encode, fpg_date_encode_text;
fpg_encode_fn fpg_time_encode, fpg_time_encode_text;
fpg_encode_fn fpg_timetz_encode, fpg_timetz_encode_text;
fpg_encode_fn fpg_timestamp_encode, fpg_timestamp_encode_text;
fpg_encode_fn fpg_timestamptz_encode, fpg_timestamptz_encode_text;
fpg_encode_fn fpg_interval_encode, fpg_interval_encode_text;

#endif
