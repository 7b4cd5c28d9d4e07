-- fastpg: no transaction
create index concurrently book_year on book (year);
