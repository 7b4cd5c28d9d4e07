-- SPDX-License-Identifier: MIT

local ACDC = " artist_id | name\n-----------+-------\n         1 | AC/DC\n(1 row)"

return {
  title = "Placeholders and queries",
  "Beside $1 there are ? and :name. They are found by a real lexer: strings, comments, casts and\n" ..
    "operators are left alone.",
  { "print((fastpg.conv_placeholders[[\n    SELECT * FROM a WHERE id = ?;\n    SELECT * FROM b WHERE name = ?\n]]))",
    "    SELECT * FROM a WHERE id = $1;\n    SELECT * FROM b WHERE name = $2\n" },
  { 'fastpg.conv_placeholders "SELECT * FROM artist WHERE artist_id = $1 AND name = ?"',
    '"SELECT * FROM artist WHERE artist_id = $1 AND name = $1"  {}' },
  { 'fastpg.conv_placeholders("SELECT * FROM artist WHERE artist_id = :id AND name = :name",\n' ..
      '  { id = 5, name = "AC/DC" })',
    '"SELECT * FROM artist WHERE artist_id = $1 AND name = $2"  { 5, "AC/DC" }' },
  { 'fastpg.conv_placeholders("SELECT * FROM a WHERE id = :uid OR creator = :uid", { uid = 42 })',
    '"SELECT * FROM a WHERE id = $1 OR creator = $1"  { 42 }' },
  { 'fastpg.conv_placeholders("SELECT * FROM a WHERE id = ? AND name = :name and foo=?", { name = "test" })',
    '"SELECT * FROM a WHERE id = $1 AND name = $3 and foo=$2"  { "test" }' },
  { [[fastpg.conv_placeholders "select '?', doc ? 'key', \"a?\", x::text -- ?" ]],
    [["select '?', doc ? 'key', \"a?\", x::text -- ?"  {}]] },
  "q runs them. Tables and columns join the text by `..`.",
  { 'acdc = db:q("select * from " .. artist .. " where " .. ac.name .. " like \'AC/%\'")' },
  { "acdc", ACDC },
  { "acdc[1]", "<Record artist_id=1 name='AC/DC'>" },
  { 'db:q("select * from " .. artist .. " where " .. ac.name .. " = $1", "AC/DC")', ACDC },
  { 'db:q("select * from " .. artist .. " where " .. ac.name .. " = ?", "AC/DC")', ACDC },
  { 'db:q("select * from " .. artist .. " where " .. ac.name .. " = :name", { name = "AC/DC" })', ACDC },
  { "acdc:columns()", '{ "artist_id", "name" }' },
  "In a web page or a notebook a list is an HTML table.",
  { "print(acdc:html())", like = "<td[^>]*>AC/DC</td>" },
  "One row, one value.",
  { 'db:first("select * from artist where name = ?", "AC/DC")', "<Record artist_id=1 name='AC/DC'>" },
  { 'db:qone("select * from artist where name = ?", "nobody")', raises = "NotFoundError" },
  { 'db:item("select artist_id from artist where name = ?", "AC/DC")', "1" },
  { 'db:item "select * from artist where artist_id = 1"', raises = "one column expected, got 2" },
  "A list is an array parameter: no text is built for `in`. NULL is nil in a row, fastpg.null in a list.",
  { 'db:item("select count(*) from artist where artist_id = any(?)", { 1, 2, 3 })', "3" },
  { 'db:item "select array[1, null, 3]"', "{ 1, null, 3 }" },
}
