-- fastpg: no transaction
drop index concurrently book_year;
