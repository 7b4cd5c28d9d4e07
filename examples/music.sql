-- SPDX-License-Identifier: MIT
--
-- music.sql: a small record shop, for `make demo` and the specs.
--
-- The tables, columns and keys are those of the Chinook sample database, so that what is written
-- for the one runs on the other. The rows are our own: a dozen artists, well-known titles with
-- lengths to the nearest ten seconds, and customers who do not exist. The first rows (artists 1
-- to 3, albums 1 to 4, track 1, employee 1) are those that the manual prints.
--
--   psql -v ON_ERROR_STOP=1 -f examples/music.sql

BEGIN;

-- ---- what is sold ----------------------------------------------------------------------------

CREATE TABLE artist (
  artist_id int PRIMARY KEY,
  name varchar(120)
);

CREATE TABLE album (
  album_id int PRIMARY KEY,
  title varchar(160) NOT NULL,
  artist_id int NOT NULL REFERENCES artist
);

CREATE TABLE genre (
  genre_id int PRIMARY KEY,
  name varchar(120)
);

CREATE TABLE media_type (
  media_type_id int PRIMARY KEY,
  name varchar(120)
);

CREATE TABLE track (
  track_id int PRIMARY KEY,
  name varchar(200) NOT NULL,
  album_id int REFERENCES album,
  media_type_id int NOT NULL REFERENCES media_type,
  genre_id int REFERENCES genre,
  composer varchar(220),
  milliseconds int NOT NULL,
  bytes int,
  unit_price numeric(10,2) NOT NULL
);

CREATE TABLE playlist (
  playlist_id int PRIMARY KEY,
  name varchar(120)
);

CREATE TABLE playlist_track (
  playlist_id int NOT NULL REFERENCES playlist,
  track_id int NOT NULL REFERENCES track,
  PRIMARY KEY (playlist_id, track_id)
);

-- ---- who sells and buys ----------------------------------------------------------------------

CREATE TABLE employee (
  employee_id int PRIMARY KEY,
  last_name varchar(20) NOT NULL,
  first_name varchar(20) NOT NULL,
  title varchar(30),
  reports_to int REFERENCES employee,
  birth_date timestamp,
  hire_date timestamp,
  address varchar(70),
  city varchar(40),
  state varchar(40),
  country varchar(40),
  postal_code varchar(10),
  phone varchar(24),
  fax varchar(24),
  email varchar(60)
);

CREATE TABLE customer (
  customer_id int PRIMARY KEY,
  first_name varchar(40) NOT NULL,
  last_name varchar(20) NOT NULL,
  company varchar(80),
  address varchar(70),
  city varchar(40),
  state varchar(40),
  country varchar(40),
  postal_code varchar(10),
  phone varchar(24),
  fax varchar(24),
  email varchar(60) NOT NULL,
  support_rep_id int REFERENCES employee
);

CREATE TABLE invoice (
  invoice_id int PRIMARY KEY,
  customer_id int NOT NULL REFERENCES customer,
  invoice_date timestamp NOT NULL,
  billing_address varchar(70),
  billing_city varchar(40),
  billing_state varchar(40),
  billing_country varchar(40),
  billing_postal_code varchar(10),
  total numeric(10,2) NOT NULL
);

CREATE TABLE invoice_line (
  invoice_line_id int PRIMARY KEY,
  invoice_id int NOT NULL REFERENCES invoice,
  track_id int NOT NULL REFERENCES track,
  unit_price numeric(10,2) NOT NULL,
  quantity int NOT NULL
);

CREATE INDEX ON album (artist_id);
CREATE INDEX ON customer (support_rep_id);
CREATE INDEX ON employee (reports_to);
CREATE INDEX ON invoice (customer_id);
CREATE INDEX ON invoice_line (invoice_id);
CREATE INDEX ON invoice_line (track_id);
CREATE INDEX ON playlist_track (playlist_id);
CREATE INDEX ON playlist_track (track_id);
CREATE INDEX ON track (album_id);
CREATE INDEX ON track (genre_id);
CREATE INDEX ON track (media_type_id);

-- ---- rows ------------------------------------------------------------------------------------

INSERT INTO artist VALUES
  (1, 'AC/DC'), (2, 'Accept'), (3, 'Aerosmith'), (4, 'Aretha Franklin'), (5, 'Björk'),
  (6, 'Miles Davis'), (7, 'Nina Simone'), (8, 'Kraftwerk'), (9, 'Fela Kuti'),
  (10, 'Heitor Villa-Lobos'), (11, 'Mercedes Sosa'), (12, 'Sinéad O''Connor');

INSERT INTO album VALUES
  (1, 'For Those About To Rock We Salute You', 1), (2, 'Balls to the Wall', 2),
  (3, 'Restless and Wild', 2), (4, 'Let There Be Rock', 1), (5, 'Toys in the Attic', 3),
  (6, 'Rocks', 3), (7, 'I Never Loved a Man the Way I Love You', 4), (8, 'Lady Soul', 4),
  (9, 'Debut', 5), (10, 'Homogenic', 5), (11, 'Kind of Blue', 6), (12, 'Sketches of Spain', 6),
  (13, 'I Put a Spell on You', 7), (14, 'Pastel Blues', 7), (15, 'Autobahn', 8),
  (16, 'Trans-Europa Express', 8), (17, 'Zombie', 9), (18, 'Expensive Shit', 9),
  (19, 'Bachianas Brasileiras', 10), (20, 'I Do Not Want What I Haven''t Got', 12);

INSERT INTO genre VALUES
  (1, 'Rock'), (2, 'Jazz'), (3, 'Metal'), (4, 'Soul'), (5, 'Electronic'), (6, 'Afrobeat'),
  (7, 'Classical'), (8, 'Pop');

INSERT INTO media_type VALUES (1, 'MPEG audio file'), (2, 'AAC audio file'), (3, 'FLAC audio file');

INSERT INTO track VALUES
  (1, 'For Those About To Rock (We Salute You)', 1, 1, 1,
   'Angus Young, Malcolm Young, Brian Johnson', 343719, 11170334, 0.99);

-- A file's size follows from its length here: about 32, 16 and 90 bytes a millisecond.
INSERT INTO track
SELECT id, title, album, media, genre, composer, seconds * 1000,
       seconds * 1000 * (ARRAY[32, 16, 90])[media], CASE WHEN media = 3 THEN 1.99 ELSE 0.99 END
FROM (VALUES
  (2, 'Put the Finger on You', 1, 1, 1, 'Angus Young, Malcolm Young, Brian Johnson', 210),
  (3, 'Let''s Get It Up', 1, 1, 1, 'Angus Young, Malcolm Young, Brian Johnson', 230),
  (4, 'Balls to the Wall', 2, 2, 3, NULL, 340),
  (5, 'London Leatherboys', 2, 2, 3, NULL, 240),
  (6, 'Fast as a Shark', 3, 2, 3, 'Accept', 230),
  (7, 'Restless and Wild', 3, 2, 3, 'Accept', 250),
  (8, 'Princess of the Dawn', 3, 2, 3, 'Accept', 380),
  (9, 'Go Down', 4, 1, 1, 'AC/DC', 330),
  (10, 'Let There Be Rock', 4, 1, 1, 'AC/DC', 370),
  (11, 'Whole Lotta Rosie', 4, 1, 1, 'AC/DC', 320),
  (12, 'Walk This Way', 5, 1, 1, 'Steven Tyler, Joe Perry', 220),
  (13, 'Sweet Emotion', 5, 1, 1, 'Steven Tyler, Tom Hamilton', 270),
  (14, 'Toys in the Attic', 5, 1, 1, 'Steven Tyler, Joe Perry', 190),
  (15, 'Back in the Saddle', 6, 1, 1, 'Steven Tyler, Joe Perry', 280),
  (16, 'Last Child', 6, 1, 1, 'Steven Tyler, Brad Whitford', 210),
  (17, 'Respect', 7, 2, 4, 'Otis Redding', 150),
  (18, 'Do Right Woman, Do Right Man', 7, 2, 4, 'Dan Penn, Chips Moman', 200),
  (19, 'A Change Is Gonna Come', 7, 2, 4, 'Sam Cooke', 260),
  (20, 'Chain of Fools', 8, 2, 4, 'Don Covay', 170),
  (21, '(You Make Me Feel Like) A Natural Woman', 8, 2, 4, 'Gerry Goffin, Carole King, Jerry Wexler', 160),
  (22, 'Human Behaviour', 9, 3, 8, 'Björk, Nellee Hooper', 250),
  (23, 'Venus as a Boy', 9, 3, 8, 'Björk', 280),
  (24, 'Big Time Sensuality', 9, 3, 8, 'Björk, Nellee Hooper', 240),
  (25, 'Hunter', 10, 3, 5, 'Björk', 250),
  (26, 'Jóga', 10, 3, 5, 'Björk, Sjón', 300),
  (27, 'Bachelorette', 10, 3, 5, 'Björk, Sjón', 310),
  (28, 'So What', 11, 3, 2, 'Miles Davis', 560),
  (29, 'Freddie Freeloader', 11, 3, 2, 'Miles Davis', 590),
  (30, 'Blue in Green', 11, 3, 2, 'Miles Davis, Bill Evans', 340),
  (31, 'All Blues', 11, 3, 2, 'Miles Davis', 690),
  (32, 'Flamenco Sketches', 11, 3, 2, 'Miles Davis, Bill Evans', 560),
  (33, 'Concierto de Aranjuez', 12, 3, 2, 'Joaquín Rodrigo', 980),
  (34, 'Will o'' the Wisp', 12, 3, 2, 'Manuel de Falla', 220),
  (35, 'Solea', 12, 3, 2, 'Gil Evans', 730),
  (36, 'I Put a Spell on You', 13, 2, 4, 'Screamin'' Jay Hawkins', 150),
  (37, 'Feeling Good', 13, 2, 4, 'Leslie Bricusse, Anthony Newley', 170),
  (38, 'Ne me quitte pas', 13, 2, 4, 'Jacques Brel', 210),
  (39, 'Strange Fruit', 14, 2, 4, 'Abel Meeropol', 210),
  (40, 'Sinnerman', 14, 2, 4, NULL, 620),
  (41, 'Autobahn', 15, 1, 5, 'Ralf Hütter, Florian Schneider, Emil Schult', 1360),
  (42, 'Kometenmelodie 1', 15, 1, 5, 'Ralf Hütter, Florian Schneider', 380),
  (43, 'Morgenspaziergang', 15, 1, 5, 'Ralf Hütter, Florian Schneider', 240),
  (44, 'Europa endlos', 16, 1, 5, 'Ralf Hütter, Florian Schneider', 580),
  (45, 'Spiegelsaal', 16, 1, 5, 'Ralf Hütter, Florian Schneider', 470),
  (46, 'Trans-Europa Express', 16, 1, 5, 'Ralf Hütter, Emil Schult', 400),
  (47, 'Zombie', 17, 2, 6, 'Fela Kuti', 750),
  (48, 'Mister Follow Follow', 17, 2, 6, 'Fela Kuti', 770),
  (49, 'Expensive Shit', 18, 2, 6, 'Fela Kuti', 790),
  (50, 'Water No Get Enemy', 18, 2, 6, 'Fela Kuti', 660),
  (51, 'No. 5: Aria (Cantilena)', 19, 3, 7, 'Heitor Villa-Lobos', 370),
  (52, 'No. 2: Tocata (O trenzinho do caipira)', 19, 3, 7, 'Heitor Villa-Lobos', 270),
  (53, 'No. 4: Prelúdio', 19, 3, 7, 'Heitor Villa-Lobos', 240),
  (54, 'Feel So Different', 20, 2, 8, 'Sinéad O''Connor', 410),
  (55, 'Nothing Compares 2 U', 20, 2, 8, 'Prince', 310),
  (56, 'The Emperor''s New Clothes', 20, 2, 8, 'Sinéad O''Connor', 320),
  (57, 'Black Boys on Mopeds', 20, 2, 8, 'Sinéad O''Connor', 230),
  (58, 'Gracias a la vida', NULL, 2, NULL, 'Violeta Parra', 260),
  (59, 'Alfonsina y el mar', NULL, 2, NULL, 'Ariel Ramírez, Félix Luna', 290),
  (60, 'Todo cambia', NULL, 2, NULL, 'Julio Numhauser', 250)
) AS t (id, title, album, media, genre, composer, seconds);

INSERT INTO playlist VALUES
  (1, 'Music'), (2, 'Quiet evening'), (3, 'Loud'), (4, 'Long ones'), (5, 'Still empty');

INSERT INTO playlist_track SELECT 1, track_id FROM track;
INSERT INTO playlist_track VALUES (2, 30), (2, 32), (2, 38), (2, 51), (2, 57), (2, 59);
INSERT INTO playlist_track SELECT 3, track_id FROM track WHERE genre_id IN (1, 3);
INSERT INTO playlist_track SELECT 4, track_id FROM track WHERE milliseconds > 600000;

INSERT INTO employee VALUES
  (1, 'Adams', 'Andrew', 'General Manager', NULL, '1962-02-18', '2002-08-14', '11120 Jasper Ave NW',
   'Edmonton', 'AB', 'Canada', 'T5K 2N1', '+1 (780) 428-9482', '+1 (780) 428-3457',
   'andrew@chinookcorp.com'),
  (2, 'Okafor', 'Ngozi', 'Sales Manager', 1, '1971-05-03', '2003-02-01', '4 Example Street',
   'Calgary', 'AB', 'Canada', 'T2P 0A1', '+1 (403) 555-0102', NULL, 'ngozi@shop.example'),
  (3, 'Lindqvist', 'Maja', 'Sales Support Agent', 2, '1980-11-30', '2004-04-15', '5 Example Street',
   'Calgary', 'AB', 'Canada', 'T2P 0A2', '+1 (403) 555-0103', NULL, 'maja@shop.example'),
  (4, 'Moreau', 'Émile', 'Sales Support Agent', 2, '1984-07-09', '2005-09-01', '6 Example Street',
   'Calgary', 'AB', 'Canada', 'T2P 0A3', '+1 (403) 555-0104', NULL, 'emile@shop.example'),
  (5, 'Tanaka', 'Yuki', 'IT Manager', 1, '1978-01-22', '2003-10-17', '7 Example Street',
   'Lethbridge', 'AB', 'Canada', 'T1H 1Y8', '+1 (403) 555-0105', NULL, 'yuki@shop.example');

INSERT INTO customer VALUES
  (1, 'Ana', 'Prado', 'Prado Discos', 'Rua Modelo 10', 'São Paulo', 'SP', 'Brazil', '01000-000',
   '+55 (11) 5555-0101', NULL, 'ana@customer.example', 3),
  (2, 'Jonas', 'Weber', NULL, 'Musterstraße 2', 'Stuttgart', NULL, 'Germany', '70174',
   '+49 711 5550102', NULL, 'jonas@customer.example', 4),
  (3, 'Chloé', 'Martin', NULL, '3, rue de l''Exemple', 'Lyon', NULL, 'France', '69001',
   '+33 4 55 55 01 03', NULL, 'chloe@customer.example', 3),
  (4, 'Sam', 'Taylor', 'Taylor & Co', '4 Sample Road', 'Dublin', 'Dublin', 'Ireland', NULL,
   NULL, NULL, 'sam@customer.example', 4),
  (5, 'Mei', 'Chen', NULL, '5 Specimen Avenue', 'Vancouver', 'BC', 'Canada', 'V5K 0A1',
   '+1 (604) 555-0105', '+1 (604) 555-0106', 'mei@customer.example', 3),
  (6, 'Kofi', 'Mensah', NULL, NULL, 'Accra', NULL, 'Ghana', NULL,
   NULL, NULL, 'kofi@customer.example', NULL),
  (7, 'Lena', 'Fischer', 'Klanghaus', 'Beispielweg 7', 'Berlin', NULL, 'Germany', '10115',
   '+49 30 5550107', NULL, 'lena@customer.example', 4),
  (8, 'Joe', 'Public', NULL, '8 Any Street', 'Edmonton', 'AB', 'Canada', 'T5J 0K1',
   NULL, NULL, 'joe@customer.example', 3);

-- Who bought what, and when.
CREATE TEMPORARY TABLE sale (invoice int, customer int, day date, tracks int[]) ON COMMIT DROP;
INSERT INTO sale VALUES
  (1, 2, '2021-01-01', ARRAY[1, 2, 10]), (2, 4, '2021-01-02', ARRAY[55, 57]),
  (3, 8, '2021-01-03', ARRAY[28, 30, 31, 32]), (4, 1, '2021-01-06', ARRAY[51, 52]),
  (5, 5, '2021-01-11', ARRAY[17, 20, 37]), (6, 7, '2021-01-19', ARRAY[41, 44, 46]),
  (7, 3, '2021-02-01', ARRAY[38]), (8, 2, '2021-02-01', ARRAY[6, 8]),
  (9, 6, '2021-02-02', ARRAY[47, 49, 50]), (10, 5, '2021-02-03', ARRAY[22, 23, 26, 27]),
  (11, 1, '2021-02-06', ARRAY[58, 59, 60]), (12, 7, '2021-02-11', ARRAY[12, 13]);

INSERT INTO invoice
SELECT s.invoice, customer_id, s.day, c.address, c.city, c.state, c.country, c.postal_code,
       (SELECT sum(unit_price) FROM track WHERE track_id = ANY (s.tracks))
FROM sale s JOIN customer c ON c.customer_id = s.customer
ORDER BY s.invoice;

INSERT INTO invoice_line
SELECT row_number() OVER (ORDER BY s.invoice, p.position), s.invoice, t.track_id, t.unit_price, 1
FROM sale s, unnest(s.tracks) WITH ORDINALITY AS p (track_id, position) JOIN track t USING (track_id)
ORDER BY s.invoice, p.position;

COMMIT;
