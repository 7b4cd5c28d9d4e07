-- SPDX-License-Identifier: MIT

return {
  title = "A pool of connections",
  "A pool has the methods of a single connection. It opens a connection when one is needed.",
  { "db:close()" },
  { 'db = pg:create_pool({ database = "chinook" }, { max_size = 4 })' },
  { "for _, a in ipairs(db.t.artist{ limit = 3 }) do print(a) end",
    "<Record artist_id=1 name='AC/DC'>\n<Record artist_id=2 name='Accept'>\n<Record artist_id=3 name='Aerosmith'>" },
  { "tostring(db)", like = '^"postgresql://postgres@.+:5432/chinook"$' },
}
