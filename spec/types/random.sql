-- SPDX-License-Identifier: MIT
--
-- random.sql: random values of every kind, by the server's random(), so that setseed repeats them.

-- The dice.
create function r_int(lo bigint, hi bigint) returns bigint language sql volatile as
  $$ select lo + floor(random() * (hi - lo + 1)::float8)::bigint $$;
create function r_chance(p float8) returns boolean language sql volatile as $$ select random() < p $$;
create function r_pick(variadic list text[]) returns text language sql volatile as
  $$ select list[r_int(1, cardinality(list))] $$;
create function r_hex(n int) returns text language sql volatile as
  $$ select coalesce(string_agg(to_hex(floor(random() * 16)::int), ''), '') from generate_series(1, n) $$;
create function r_bytes(n int) returns bytea language sql volatile as $$ select decode(r_hex(n * 2), 'hex') $$;

-- 64 bits, of which a random number at the low end are random and the rest are the sign.
create function r_int8() returns bigint language sql volatile as
  $$ select ('x' || r_hex(16))::bit(64)::bigint >> r_int(0, 63)::int $$;
create function r_digits(n bigint) returns text language sql volatile as
  $$ select coalesce(string_agg(floor(random() * 10)::int::text, ''), '') from generate_series(1, n) $$;

create function r_numeric(size int) returns numeric language sql volatile as $$
  select case when r_chance(0.05) then r_pick('NaN', 'Infinity', '-Infinity', '0', '0.000', '-0')
    else r_pick('', '-') || r_pick('', '0', repeat('0', 9)) || r_digits(r_int(1, size))
      || r_pick('', '.' || r_digits(r_int(1, size)), '.' || repeat('0', r_int(1, size)::int) || r_digits(r_int(1, 9)))
      || r_pick('', '', 'e' || r_int(-size, size)) end::numeric $$;

create function r_float8() returns float8 language sql volatile as $$
  select case when r_chance(0.1) then r_pick('NaN', 'Infinity', '-Infinity', '0', '-0', '5e-324', '1.7976931348623157e308')
    when r_chance(0.2) then r_int8()::text
    else r_pick('', '-') || r_int(1, 9) || '.' || r_digits(16) || 'e' || r_int(-320, 307) end::float8 $$;
create function r_float4() returns float4 language sql volatile as $$
  select case when r_chance(0.1) then r_pick('NaN', 'Infinity', '-Infinity', '0', '-0', '1.4e-45', '3.4028235e38')
    when r_chance(0.2) then r_int(-20000000, 20000000)::text
    else r_pick('', '-') || r_int(1, 9) || '.' || r_digits(8) || 'e' || r_int(-44, 37) end::float4 $$;
create function r_finite() returns float8 language sql volatile as
  $$ select (r_pick('', '-') || r_int(1, 9) || '.' || r_digits(r_int(1, 16)) || 'e' || r_int(-30, 30))::float8 $$;

-- Any code points, and what quoting is about.
create function r_char() returns text language sql volatile as $$
  select case when r_chance(0.3) then r_pick('"', '''', '\', '{', '}', '(', ')', '[', ']', ',', ';', ' ', E'\n', E'\t', 'N', '=', '>')
    when r_chance(0.5) then chr(r_int(1, 127)::int)
    when r_chance(0.5) then chr(r_int(128, 55295)::int)
    else chr(r_int(57344, 1114111)::int) end $$;
create function r_text(n bigint) returns text language sql volatile as
  $$ select coalesce(string_agg(r_char(), ''), '') from generate_series(1, n) $$;
create function r_word() returns text language sql volatile as
  $$ select case when r_chance(0.1) then r_pick('', 'NULL', 'null', '""', '\\', '{}', ' ') else r_text(r_int(0, 20)) end $$;

create function r_date() returns date language sql volatile as $$
  select case when r_chance(0.04) then r_pick('infinity', '-infinity', '4714-11-24 BC', '5874897-12-31')::date
    when r_chance(0.5) then date '2000-01-01' + r_int(-2451545, 2145031948)::int
    else date '2000-01-01' + r_int(-1000000, 100000)::int end $$;
create function r_time() returns time language sql volatile as $$
  select case when r_chance(0.03) then time '24:00'
    when r_chance(0.3) then time '00:00' + r_int(0, 86399) * interval '1 second'
    else time '00:00' + r_int(0, 86399999999) * interval '1 microsecond' end $$;
create function r_timestamp() returns timestamp language sql volatile as $$
  select case when r_chance(0.04) then r_pick('infinity', '-infinity')::timestamp
    when r_chance(0.5) then date '2000-01-01' + r_int(-2451540, 106741030)::int + r_time()
    else date '2000-01-01' + r_int(-60000, 60000)::int + r_time() end $$;
create function r_timetz() returns timetz language sql volatile as $$
  select (r_time() || r_pick('+', '-') || lpad(r_int(0, 14)::text, 2, '0')
    || r_pick('', ':30', ':' || lpad(r_int(0, 59)::text, 2, '0') || ':' || lpad(r_int(0, 59)::text, 2, '0')))::timetz $$;
create function r_interval() returns interval language sql volatile as $$
  select (r_pick(r_int(-2000000000, 2000000000)::text, r_int(-30, 30)::text, '0') || ' months '
    || r_pick(r_int(-2000000000, 2000000000)::text, r_int(-99, 99)::text, '0') || ' days '
    || r_pick(r_int(-2000000000, 2000000000)::text, r_int(-99, 99)::text, '0') || ' hours '
    || r_pick(r_int(-2000000000, 2000000000)::text, '0') || ' microseconds')::interval $$;

create function r_json(depth int) returns text language plpgsql volatile as $$
declare kind int := r_int(case when depth > 0 then 1 else 5 end, 12);
begin
  if kind <= 2 then
    return '[' || coalesce((select string_agg(r_json(depth - 1), ', ') from generate_series(1, r_int(0, 4))), '') || ']';
  elsif kind <= 4 then
    return '{' || coalesce((select string_agg(to_json(i || r_word()) || ': ' || r_json(depth - 1), ', ')
      from generate_series(1, r_int(0, 4)) i), '') || '}';
  elsif kind <= 6 then return to_json(r_word());
  elsif kind = 7 then return r_int8();
  elsif kind = 8 then return r_finite();
  elsif kind = 9 then return r_pick('', '-') || r_int(0, 9) || '.' || r_digits(r_int(1, 40)) || r_pick('', 'e' || r_int(-99, 99));
  end if;
  return r_pick('null', 'true', 'false');
end $$;

create function r_inet() returns inet language sql volatile as $$
  select case when r_chance(0.5) then set_masklen('0.0.0.0'::inet + r_int(0, 4294967295), r_int(0, 32)::int)
    else set_masklen(string_agg(case when r_chance(0.6) then '0' else to_hex(r_int(0, 65535)) end, ':')::inet,
      case when r_chance(0.5) then 128 else r_int(0, 128)::int end) end from generate_series(1, 8) $$;
create function r_varbit(n bigint) returns varbit language sql volatile as
  $$ select coalesce(string_agg(r_pick('0', '1'), ''), '')::varbit from generate_series(1, n) $$;

create function r_points(open text, close text) returns text language sql volatile as $$
  select open || string_agg('(' || r_finite() || ',' || r_float8() || ')', ',') || close from generate_series(1, r_int(1, 6)) $$;

create function r_lexeme() returns text language sql volatile as
  $$ select '''' || replace(replace(r_char() || r_word(), '\', '\\'), '''', '''''') || '''' $$;
create function r_tsvector() returns tsvector language sql volatile as $$
  select coalesce(string_agg(r_lexeme() || r_pick('', ':' || r_int(1, 16383) || r_pick('', 'A', 'B', 'C') || ',' || r_int(1, 9)), ' '), '')
    ::tsvector from generate_series(1, r_int(0, 6)) $$;
create function r_tsquery(depth int) returns tsquery language plpgsql volatile as $$
declare kind int := case when depth > 0 then r_int(1, 6) else 6 end;
begin
  if kind = 1 then return r_tsquery(depth - 1) && r_tsquery(depth - 1); end if;
  if kind = 2 then return r_tsquery(depth - 1) || r_tsquery(depth - 1); end if;
  if kind = 3 then return !! r_tsquery(depth - 1); end if;
  if kind <= 5 then return tsquery_phrase(r_tsquery(depth - 1), r_tsquery(depth - 1), r_int(0, 16384)::int); end if;
  return (r_lexeme() || r_pick('', ':*', ':A', ':*BC', ':D'))::tsquery;
end $$;
create function r_snapshot() returns text language plpgsql volatile as $$
declare low bigint := r_int(1, 1000000000000);
begin
  return low || ':' || low + 100 || ':'
    || coalesce((select string_agg((low + i * 7 + r_int(0, 6))::text, ',' order by i) from generate_series(0, r_int(-1, 10)) i), '');
end $$;
