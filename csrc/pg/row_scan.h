/* SPDX-License-Identifier: MIT
 *
 * row_scan.h: which keys the records of a list have, and what kinds of values, looked at before they are written.
 */
#ifndef FASTPG_ROW_SCAN_H
#define FASTPG_ROW_SCAN_H

#include "compat.h"

typedef struct fpg_row_scan fpg_row_scan;

fpg_row_scan *fpg_check_row_scan(lua_State *L, int idx);

/* Whether each key of the record is a name that the scan knows: what kinds of values they have is noted then.  `names`
 * is the index of the scan's user value. */
int fpg_scan_record(lua_State *L, fpg_row_scan *scan, int names, int record);

#endif
