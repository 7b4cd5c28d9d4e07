-- SPDX-License-Identifier: MIT

local THREE = " artist_id |   name    \n-----------+-----------\n         1 | AC/DC\n" ..
  "         2 | Accept\n         3 | Aerosmith\n(3 rows)"
local PRINTED = "Artist(artist_id=1, name='AC/DC')\nArtist(artist_id=2, name='Accept')\nArtist(artist_id=3, name='Aerosmith')"
local PAIRS = "{ { 1, Artist(artist_id=1, name='AC/DC') }, { 2, Artist(artist_id=2, name='Accept') }, " ..
  "{ 3, Artist(artist_id=3, name='Aerosmith') } }"
local ALBUMS = "Album(album_id=1, title='For Those About To Rock We Salute You', artist_id=1)\n" ..
  "Album(album_id=4, title='Let There Be Rock', artist_id=1)"

return {
  title = "Rows by a call; queries",
  "A Table is called for its rows: all of them, by options, or by a condition and its values.",
  { "artist{ limit = 3 }", THREE },
  { "for _, a in ipairs(artist{ limit = 3 }) do print(a) end", PRINTED },
  { 'artist("name like ?", "AC/%")[1]', "Artist(artist_id=1, name='AC/DC')" },
  { 'artist("name = :n", { n = "AC/DC" })[1]', "Artist(artist_id=1, name='AC/DC')" },
  { 'artist{ where = { artist_id = { 2, 3 } }, order_by = "name desc" }[1]', "Artist(artist_id=3, name='Aerosmith')" },
  { 'artist{ where = "name like ?", args = { "A%" }, order_by = "artist_id", limit = 1, offset = 1 }[1]',
    "Artist(artist_id=2, name='Accept')" },
  { "artist{ limit = 1, as_cls = false }[1]", "<Record artist_id=1 name='AC/DC'>" },
  { "artist{ limt = 3 }", raises = 'did you mean "limit"?' },
  "with_pk gives pairs of key and row.",
  { "artist{ limit = 3, with_pk = true }", PAIRS },
  "The filter of xtra holds here too, and for counts.",
  { "album:xtra{ artist_id = 1 }", '"album"' },
  { "for _, a in ipairs(album{ limit = 5 }) do print(a) end", ALBUMS },
  { "album:count(), #album", "2  2" },
  { "album:xtra()", '"album"' },
  { "#album", "20", chinook = "347" },
  "selectone wants exactly one row. debug prints the SQL.",
  { 'artist:selectone{ where = "Name = $1", args = { "AC/DC" }, debug = true }',
    'SELECT * FROM "artist" WHERE Name = $1 LIMIT 2\nArtist(artist_id=1, name=\'AC/DC\')' },
  { 'artist:selectone("name like ?", "%a%")', raises = "not unique" },
  { 'artist:selectone("name = ?", "i do not exist")', raises = "NotFoundError" },
  "where gives a query, which runs when it is called, and can be built up before.",
  { 'q = artist:where("name like ?", "A%"):order_by "name":limit(2)' },
  { "tostring(q)", [["SELECT * FROM \"artist\" WHERE name like $1 ORDER BY name LIMIT 2"]] },
  { "#q(), q:first()", "2  Artist(artist_id=1, name='AC/DC')",
    chinook = "2  Artist(artist_id=43, name='A Cor Do Som')" },
  { 'artist:where{ name = "AC/DC" }:exists()', "true" },
  "Groups, as a map.",
  { 'counts = dt.album:groupby("artist_id", { "count(*)", "min(title)" })\ncounts[1]',
    '{ 2, "For Those About To Rock We Salute You" }' },
  "One value of one row.",
  { 'db:item("select artist_id from artist where name = $1", "AC/DC")', "1" },
}
