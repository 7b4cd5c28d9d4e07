return {
  up = function(db)
    db.t.book:inserts{ { title = "Programming in Lua", year = 2003 }, { title = "The Art of SQL", year = 2006 } }
  end,
  down = function(db) db.t.book:delete_where() end,
}
