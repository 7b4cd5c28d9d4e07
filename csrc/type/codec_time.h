/* SPDX-License-Identifier: MIT
 *
 * codec_time.h: date, time, timetz, timestamp, timestamptz and interval: which one it is the type's kind says.
 */
#ifndef FASTPG_CODEC_TIME_H
#define FASTPG_CODEC_TIME_H

#include "codec.h"

fpg_decode_fn fpg_time_decode_binary, fpg_time_decode_text;
fpg_encode_fn fpg_time_encode, fpg_time_encode_text;

#endif
